"""Everything that the studio can do with generators, for the page and for HTTP alike: checked requests in, pictures out."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file
from facegan.common.pictures import from_bytes, to_bytes
from facegan.models.registry import count_parameters
from facegan.sampling import codes
from facegan.sampling.directions import COUNT, REACH, find_directions, move, name_direction, read_names
from facegan.studio import requests
from facegan.studio.exports import Exported, Exports
from facegan.studio.finding import Found, find, open_features
from facegan.studio.generators import Generators, Loaded
from facegan.studio.origins import Neighbours, find_origins
from facegan.studio.photos import read_preprocessing, read_target

PREVIEWS = 7  # of each direction


class Studio:
    """Answers requests. Each takes the one generator in memory for itself while it draws.

    Args:
        project: the project's folder.
        given: a generator to show first.
        temporary: a folder that goes with the server.
    """

    def __init__(self, project: Path, given: Path | None, temporary: Path):
        self.project = project
        self.generators = Generators(project, given)
        self.exports = Exports(project, temporary / "exports")

    def use(self, name: str):
        """Gives the named generator, or the first, for the length of a block; see ``Generators.use``."""
        return self.generators.use(name or self.generators.first())

    def draw_wall(self, request: requests.Wall) -> Tensor:
        """Returns faces (N, 3, H, W) in uint8."""
        with self.use(request.generator) as loaded:
            return draw(loaded.network, codes.draw_codes(loaded.network, request.seed, request.count, request.truncation))

    def draw_faces(self, request: requests.Faces) -> Tensor:
        """Returns faces (N, 3, H, W) in uint8."""
        with self.use(request.generator) as loaded:
            return draw(loaded.network, codes.read_faces(loaded.network, request.face))

    def keep_drawable(self, generator: str, faces: Sequence[str]) -> list[str]:
        """Returns those of the faces that this generator can draw: codes of another shape are left out."""
        with self.use(generator) as loaded:
            return [face for face in faces[: requests.MOST_PICKED] if is_drawable(loaded.network, face)]

    def blend(self, request: requests.Blend) -> tuple[Tensor, str]:
        """Returns a face (3, H, W) in uint8 and its text."""
        with self.use(request.generator) as loaded:
            found = codes.read_faces(loaded.network, request.face)
            return finish(loaded, codes.blend(loaded.network, found, torch.tensor([request.weight], device=found.device)))

    def mix(self, request: requests.Mix) -> tuple[Tensor, str]:
        """Returns a face (3, H, W) in uint8 and its text. Raises FaceganError when the generator has no styles."""
        with self.use(request.generator) as loaded:
            if not codes.has_styles(loaded.network):
                raise FaceganError(f"expected a generator with styles (stylegan2); found {loaded.card.model}; blend the faces")
            return finish(loaded, codes.mix_styles(codes.read_faces(loaded.network, request.face), request.layer))

    def walk(self, request: requests.Walk) -> Tensor:
        """Returns frames (N, 3, H, W) in uint8."""
        with self.use(request.generator) as loaded:
            found = codes.read_faces(loaded.network, request.face)
            return draw(loaded.network, codes.walk(loaded.network, found, request.frames))

    def move(self, request: requests.Move) -> tuple[Tensor, str]:
        """Returns a face (3, H, W) in uint8 and its text."""
        with self.use(request.generator) as loaded:
            found = codes.read_faces(loaded.network, [request.face])
            ways = find_directions(loaded.network)
            amounts = torch.tensor([(request.amount + [0.0] * COUNT)[: len(ways)]], device=found.device)
            return finish(loaded, move(found, ways, amounts))

    def preview_directions(self, request: requests.Previews) -> Tensor:
        """Returns faces (D, 7, 3, H, W) in uint8: for each direction the face moved by -3, …, 3 standard deviations."""
        with self.use(request.generator) as loaded:
            found = codes.read_faces(loaded.network, [request.face])
            ways = find_directions(loaded.network)  # (D, L)
            reach = torch.linspace(-REACH, REACH, PREVIEWS, device=found.device)
            amounts = torch.einsum("p,de->dpe", reach, torch.eye(len(ways), device=found.device)).flatten(0, 1)  # (D · 7, D)
            return draw(loaded.network, move(found, ways, amounts)).unflatten(0, (len(ways), PREVIEWS))

    def read_names(self, generator: str) -> dict[int, str]:
        """Returns the names given to the generator's directions."""
        with self.use(generator) as loaded:
            return read_names(self.project, loaded.fingerprint)

    def name_direction(self, generator: str, number: int, name: str) -> None:
        """Keeps a direction's name."""
        with self.use(generator) as loaded:
            name_direction(self.project, loaded.fingerprint, number, name)

    def read_target(self, generator: str, content: bytes, straighten: bool) -> tuple[Tensor, str]:
        """Returns a photo as a target (3, H, W) in uint8 of the generator's size, cut out as its own were, and how that was done."""
        with self.use(generator) as loaded:
            resolution = loaded.card.resolution
        target, words = read_target(content, resolution, straighten, read_preprocessing(self.project))
        return torch.from_numpy(target), words

    def find(self, generator: str, target: Tensor) -> Iterator[tuple[Found, Tensor, str]]:
        """Yields ever better faces for a target (3, H, W) in uint8: how far the search is, the face (3, H, W) in uint8 and its text.

        Between two of them others get their turn.
        """
        with self.use(generator) as loaded:
            if target.shape[-1] != loaded.card.resolution:
                wanted = loaded.card.resolution
                raise FaceganError(
                    f"expected a photo read for this generator ({wanted} px); found one of {target.shape[-1]} px; choose it again"
                )
            search = find(loaded.network, from_bytes(target), open_features())
        while True:
            with self.use(generator) as loaded:
                found = next(search, None)
                if found is None:
                    return
                face, text = finish(loaded, found.code)
            yield found, face, text

    def find_origins(self, request: requests.Faces) -> tuple[Tensor, Neighbours]:
        """Returns a face (3, H, W) in uint8 and the photos nearest to it."""
        with self.use(request.generator) as loaded:
            face = draw(loaded.network, codes.read_faces(loaded.network, request.face[:1]))[0]
            fingerprint = loaded.card.data_fingerprint
        return face, find_origins(self.project, face, fingerprint)

    def compare(self, request: requests.Compare) -> tuple[Tensor, Tensor]:
        """Returns the faces (N, 3, H, W) in uint8 of two generators for the same seed, one generator after the other in memory."""
        first, second = (
            self.draw_wall(requests.Wall(generator=name, seed=request.seed, count=request.count, truncation=request.truncation))
            for name in request.generator
        )
        return first, second

    def export(self, generator: str) -> Exported:
        """Returns the generator's export, made now if need be. It draws with a generator of its own, so that nobody waits for it."""
        name = generator or self.generators.first()
        return self.exports.make(self.generators.find(name), hash_file(self.generators.find(name)))

    def describe(self, generator: str) -> dict[str, str | int]:
        """Returns what a generator is."""
        with self.use(generator) as loaded:
            card = loaded.card
            return {
                "model": card.model,
                "resolution": card.resolution,
                "latent_size": card.latent_size,
                "images_seen": card.images_seen,
                "parameters": count_parameters(loaded.network),
                "layers": codes.count_rows(loaded.network),
                "fingerprint": loaded.fingerprint[:16],
            }


def draw(network: nn.Module, found: Tensor) -> Tensor:
    """Returns faces (N, 3, H, W) in uint8, on the CPU, of codes (N, S, L)."""
    with torch.inference_mode(), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        return torch.cat([to_bytes(codes.synthesize(network, part)).cpu() for part in found.split(codes.FACES_AT_ONCE)])


def finish(loaded: Loaded, found: Tensor) -> tuple[Tensor, str]:
    """Returns the face (3, H, W) in uint8 of a code (1, S, L) and its text: the very face that the text gives."""
    text = codes.write_code(found[0])
    return draw(loaded.network, codes.read_faces(loaded.network, [text]))[0], text


def is_drawable(network: nn.Module, face: str) -> bool:
    """Returns whether the generator can draw the face."""
    try:
        codes.read_faces(network, [face])
    except FaceganError:
        return False
    return True
