"""The studio's functions on generators, for the page and the HTTP API: validated requests in, pictures out."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor

from facegan.common.devices import reproducible
from facegan.common.errors import FaceganError
from facegan.common.files import hash_file
from facegan.common.labels import check
from facegan.common.marks import Mark
from facegan.common.pictures import from_bytes, to_bytes
from facegan.models.network import GeneratorNetwork
from facegan.models.provenance import compare_with_project
from facegan.models.registry import count_parameters
from facegan.parameters import read_parameters
from facegan.sampling import codes
from facegan.sampling.directions import REACH, find_directions, move, name_direction, read_names
from facegan.sampling.label_directions import find_label_directions
from facegan.sampling.label_sheet import choose_rows
from facegan.studio import requests
from facegan.studio.exports import Exported, Exports
from facegan.studio.finding import Found, find, open_features
from facegan.studio.generators import Busy, Generators, Loaded
from facegan.studio.origins import Neighbours, find_origins
from facegan.studio.photos import read_preprocessing, read_target

REQUEST_SECONDS = 300
PREVIEWS = 7  # of each direction
SLICE_SECONDS = 0.4  # of exclusive use of the generator; the page shows the faces drawn so far after each


class Studio:
    """Answers requests. Each has exclusive use of the generator in memory while it draws.

    Args:
        generators: the project's generators.
        temporary: a folder that is deleted with the server.
    """

    def __init__(self, generators: Generators, temporary: Path):
        self.project, self.generators = generators.project, generators
        self.exports = Exports(self.project, temporary / "exports")
        self.label_directions: dict[str, dict[str, Tensor]] = {}  # by the generator's hash

    def use(self, name: str) -> AbstractContextManager[Loaded]:
        """Gives exclusive use of the named generator, or the first; see ``Generators.use``."""
        return self.generators.use(name or self.generators.first())

    def mark(self, generator: str, content: str, faces: Sequence[str]) -> Mark:
        """Returns the mark of a picture of faces given as text."""
        with self.use(generator) as loaded:
            return loaded.card.mark.replace(content, *faces)

    def draw_wall(self, request: requests.Wall) -> Tensor:
        """Returns faces (N, 3, H, W) in uint8."""
        *_, faces = self.stream_wall(request)
        return faces

    def stream_wall(self, request: requests.Wall) -> Iterator[Tensor]:
        """Yields the faces (N, 3, H, W) in uint8 drawn so far, at least every ``SLICE_SECONDS``, until all are drawn."""
        with self.use(request.generator) as loaded:
            given = check(request.labels, loaded.network.labels.columns)
            faces = codes.draw_codes(loaded.network, request.seed, request.count, request.truncation, given)
        return self.stream(request.generator, faces)

    def stream(self, generator: str, faces: Tensor) -> Iterator[Tensor]:
        """Yields the faces (N, 3, H, W) in uint8 of codes (N, S, L) drawn so far. In between the generator is free for other requests."""
        drawn: list[Tensor] = []
        start = time.monotonic()
        parts = iter(faces.split(codes.FACES_AT_ONCE))
        while sum(map(len, drawn)) < len(faces):
            began = time.monotonic()
            if began - start > REQUEST_SECONDS:
                raise Busy(
                    f"expected an answer within {REQUEST_SECONDS} s; found {len(torch.cat(drawn))} of {len(faces)} faces; ask for fewer"
                )
            with self.use(generator) as loaded:
                for part in parts:
                    drawn.append(draw(loaded.network, part))
                    if time.monotonic() - began > SLICE_SECONDS:
                        break
            yield torch.cat(drawn)

    def list_labels(self, generator: str) -> list[str]:
        """Returns the labels that faces can have, such as ``glasses=yes``; none for an unlabelled generator."""
        with self.use(generator) as loaded:
            return [f"{column.name}={value}" for column in loaded.network.labels.columns for value in column.values]

    def relabel(self, request: requests.Previews) -> tuple[list[str], list[str]]:
        """Returns the same face as text with each value of each label, and a caption for each; none if its labels are unknown."""
        with self.use(request.generator) as loaded:
            labels = loaded.network.labels
            rows = choose_rows(labels)
            values = {column.name: column.values for column in labels.columns}
            captions = [f"{name} = {values[name][position]}" for name, position in rows]
            faces = codes.relabel(loaded.network, request.face, [{name: position} for name, position in rows]) if rows else []
            return faces, captions[: len(faces)]

    def draw_faces(self, request: requests.Faces) -> Tensor:
        """Returns faces (N, 3, H, W) in uint8."""
        with self.use(request.generator) as loaded:
            return draw(loaded.network, codes.read_faces(loaded.network, request.face))

    def keep_drawable(self, generator: str, faces: Sequence[str]) -> list[str]:
        """Returns the faces that this generator can draw, without codes of another shape."""
        with self.use(generator) as loaded:
            return [face for face in faces[: requests.MAX_PICKED] if is_drawable(loaded.network, face)]

    def blend(self, request: requests.Blend) -> tuple[Tensor, str]:
        """Returns a face (3, H, W) in uint8 and its text."""
        with self.use(request.generator) as loaded:
            faces = codes.read_faces(loaded.network, request.face)
            return finish(loaded, codes.blend(loaded.network, faces, torch.tensor([request.weight], device=faces.device)))

    def mix(self, request: requests.Mix) -> tuple[Tensor, str]:
        """Returns a face (3, H, W) in uint8 and its text. Raises FaceganError if the generator has no styles."""
        with self.use(request.generator) as loaded:
            if not codes.has_styles(loaded.network):
                raise FaceganError(f"expected a generator with styles (stylegan2); found {loaded.card.model}; blend the faces")
            return finish(loaded, codes.mix_styles(codes.read_faces(loaded.network, request.face), request.layer))

    def walk(self, request: requests.Walk) -> Iterator[Tensor]:
        """Yields the frames (N, 3, H, W) in uint8 drawn so far."""
        with self.use(request.generator) as loaded:
            frames = codes.walk(loaded.network, codes.read_faces(loaded.network, request.face), request.frames)
        return self.stream(request.generator, frames)

    def move(self, request: requests.Move) -> tuple[Tensor, str]:
        """Returns a face (3, H, W) in uint8 and its text."""
        with self.use(request.generator) as loaded:
            code = codes.read_faces(loaded.network, [request.face])
            directions = self.list_directions(loaded)
            amounts = torch.tensor([(request.amount + [0.0] * len(directions))[: len(directions)]], device=code.device)
            return finish(loaded, move(code, directions, amounts))

    def preview_directions(self, request: requests.Previews) -> Iterator[Tensor]:
        """Yields the faces (N, 3, H, W) in uint8 drawn so far of (D · 7): for each direction the face moved by -3, …, 3 deviations."""
        with self.use(request.generator) as loaded:
            code = codes.read_faces(loaded.network, [request.face])
            directions = self.list_directions(loaded)  # (D, L)
            steps = torch.linspace(-REACH, REACH, PREVIEWS, device=code.device)
            amounts = torch.einsum("p,de->dpe", steps, torch.eye(len(directions), device=code.device)).flatten(0, 1)  # (D · 7, D)
            moved = move(code, directions, amounts)
        return self.stream(request.generator, moved)

    def list_directions(self, loaded: Loaded) -> Tensor:
        """Returns the directions (D, L): the strongest ones, then those of labels, if they have been found."""
        found = self.label_directions.get(loaded.fingerprint, {})
        return torch.stack([*find_directions(loaded.network), *found.values()])

    def find_label_directions(self, generator: str) -> list[str]:
        """Finds the directions of the training images' labels, and returns their names.

        Raises:
            FaceganError: no labelled images, no direction, or a generator that is too slow.
        """
        with self.use(generator) as loaded:
            network, fingerprint = loaded.network, loaded.fingerprint
        if fingerprint not in self.label_directions:

            def render(faces: Tensor) -> Tensor:
                *_, drawn = self.stream(generator, faces)
                return drawn

            self.label_directions[fingerprint] = find_label_directions(network, self.project / "data" / "shards", render)
        names = list(self.label_directions[fingerprint])
        if not names:
            raise FaceganError("expected a latent direction that changes one of the labels; found none; train longer")
        return names

    def read_names(self, generator: str) -> dict[int, str]:
        """Returns the names of the generator's directions."""
        with self.use(generator) as loaded:
            return read_names(self.project, loaded.fingerprint)

    def name_direction(self, generator: str, number: int, name: str) -> None:
        """Stores a direction's name."""
        with self.use(generator) as loaded:
            name_direction(self.project, loaded.fingerprint, number, name)

    def read_target(self, generator: str, content: bytes, straighten: bool) -> tuple[Tensor, str]:
        """Returns a photo as a target (3, H, W) in uint8, sized and cropped for the generator, and a description of the crop."""
        with self.use(generator) as loaded:
            resolution = loaded.card.resolution
        target, crop = read_target(content, resolution, straighten, read_preprocessing(self.project))
        return torch.from_numpy(target), crop

    def find(self, generator: str, target: Tensor) -> Iterator[tuple[Found, Tensor, str]]:
        """Yields better and better faces for a target (3, H, W) in uint8: the search's state, the face (3, H, W) in uint8 and its text.

        The generator is free for other requests between two of them. The search ends after ``REQUEST_SECONDS``.
        """
        with self.use(generator) as loaded:
            size, expected = target.shape[-1], loaded.card.resolution
            if size != expected:
                raise FaceganError(f"expected a photo prepared for this generator ({expected} px); found {size} px; select it again")
            search = find(loaded.network, from_bytes(target), open_features())
        start = time.monotonic()
        while time.monotonic() - start < REQUEST_SECONDS:
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

    def export(self, generator: str) -> Exported:
        """Returns the generator's export, creating it if needed. It loads its own copy of the generator, so that no other request waits."""
        path = self.generators.find(generator or self.generators.first())
        with self.use(generator) as loaded:
            title = f"facegan-{loaded.card.model}-{loaded.card.resolution}px-{loaded.fingerprint[:8]}"
        return self.exports.make(path, hash_file(path), title)

    def compare_with_project(self, generator: str) -> list[str]:
        """Returns notes about files of the project that belong to another run than the generator."""
        if not (self.project / "params.yaml").is_file():
            return []
        with self.use(generator) as loaded:
            card = loaded.card
        try:
            parameters = read_parameters(self.project / "params.yaml").as_plain()
            path = self.generators.find(generator or self.generators.first())
            return compare_with_project(path, card, parameters, self.project / "metrics")
        except FaceganError as error:
            return [str(error).splitlines()[0]]

    def describe(self, generator: str) -> dict[str, str | int]:
        """Returns facts about a generator."""
        with self.use(generator) as loaded:
            card = loaded.card
            return {
                "model": card.model,
                "resolution": card.resolution,
                "images_seen": card.images_seen,
                "parameters": count_parameters(loaded.network),
                "layers": codes.count_rows(loaded.network),
            }


def draw(network: GeneratorNetwork, faces: Tensor) -> Tensor:
    """Returns faces (N, 3, H, W) in uint8, on the CPU, from codes (N, S, L)."""
    with torch.inference_mode(), reproducible():
        return torch.cat([to_bytes(codes.synthesize(network, part)).cpu() for part in faces.split(codes.FACES_AT_ONCE)])


def finish(loaded: Loaded, code: Tensor) -> tuple[Tensor, str]:
    """Returns the face (3, H, W) in uint8 of a code (1, S, L) and its text, drawn from that rounded text."""
    text = codes.write_code(code[0])
    return draw(loaded.network, codes.read_faces(loaded.network, [text]))[0], text


def is_drawable(network: GeneratorNetwork, face: str) -> bool:
    """Returns whether the generator can draw the face."""
    try:
        codes.read_faces(network, [face])
    except FaceganError:
        return False
    return True
