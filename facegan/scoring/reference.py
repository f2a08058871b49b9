"""The real side of every score: features of real images, computed once and stored.

Input: a folder of shards and an extractor. Output: a folder with ``features.safetensors`` and ``reference.json``. It depends on the images,
the extractor and the requested sizes, but on no model and no seed, so experiments share it. Reading it validates everything:
``reference.json`` has a fingerprint, and the features must have the hash stored there and the shapes given by its protocol.

Each split is put into one fixed random order. The first training images are the real images of the scores. The next ones are the second
real set, from which the floor is computed; held-out images are added if there are too few.
"""

import dataclasses
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from facegan.common.errors import FaceganError, printable
from facegan.common.files import discard, hash_file, read_sealed_json, write_bytes, write_sealed_json
from facegan.common.shards import Index, Split, open_split, read_index
from facegan.scoring.extractors import BATCH, Extractor
from facegan.scoring.parameters import FEWEST_IMAGES
from facegan.scoring.protocol import RealProtocol
from facegan.scoring.scores import Features, compare_all, extract_with_averages
from facegan.scoring.structure import SIZE, fit_components, project

ORDER_SEED = 0
FEATURES, INFO = "features.safetensors", "reference.json"
TENSORS = {
    **{"train": "F32", "train_structure": "F32", "train_rows": "I64"},
    **{"holdout": "F32", "holdout_structure": "F32", "holdout_rows": "I64"},
    "components": "F64",
}
REMEDY = "run stages/reference.py again"


@dataclasses.dataclass(frozen=True)
class Reference:
    """The real images' part of a score.

    Attributes:
        train, holdout: features (T, D) and (H, D), for the scores and for the nearest-neighbour search.
        train_structure, holdout_structure: the same images in the structure space, (T, K) and (H, K).
        components: of the structure space, fitted to the real images of the scores; see ``facegan.scoring.structure``.
        train_rows, holdout_rows: the positions of these images in their split.
        protocol: how the features were computed.
        floor: the scores of real images against other real images, and the number of images on each side.
    """

    train: Tensor
    holdout: Tensor
    train_structure: Tensor
    holdout_structure: Tensor
    components: Tensor
    train_rows: Tensor
    holdout_rows: Tensor
    protocol: RealProtocol
    floor: dict[str, int | float]

    @property
    def real(self) -> Features:
        """The features of the N images that scores are computed against."""
        return Features(self.train[: self.protocol.real], self.train_structure[: self.protocol.real])


class ReferenceInfo(BaseModel):
    """reference.json: a reference without its tensors, and the hash of the file that contains them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: RealProtocol
    floor: dict[str, int | float]
    features_sha256: str


def make_reference(shards: Path, folder: Path, extractor: Extractor, images: int, memorisation_images: int | None) -> Reference:
    """Computes, writes and returns the reference.

    Args:
        shards: the folder of shards.
        folder: the output folder.
        images: the number of real images for the scores; all if the split has fewer.
        memorisation_images: the number of training images in the nearest-neighbour search; None: all.

    Raises:
        FaceganError: there are too few training images for any score.
    """
    index = read_index(shards)
    train_order, holdout_order = shuffle(index.train), shuffle(index.holdout)
    real = min(images, index.train)
    if real < FEWEST_IMAGES:
        raise FaceganError(f"expected at least {FEWEST_IMAGES} training images to score against; found {index.train}; use more photos")
    kept = max(real, index.train if memorisation_images is None else min(memorisation_images, index.train))
    lacking = max(0, 2 * real - index.train)  # of the second real set: taken from the held-out images
    train_rows, holdout_rows = train_order[: max(2 * real, kept)], holdout_order[: max(lacking, real)]
    train, averages = extract_split(extractor, shards, "train", train_rows)
    components = fit_components(averages[:real])
    train_structure = project(averages, components)
    holdout, holdout_structure = train[:0], train_structure[:0]
    if len(holdout_rows):
        holdout, averages = extract_split(extractor, shards, "holdout", holdout_rows)
        holdout_structure = project(averages, components)
    second = Features(
        torch.cat([train[real : 2 * real], holdout[:lacking]]),
        torch.cat([train_structure[real : 2 * real], holdout_structure[:lacking]]),
    )
    count = len(second.network)
    floor: dict[str, int | float] = {"images": count}
    if count >= FEWEST_IMAGES:
        floor |= compare_all(Features(train[:count], train_structure[:count]), second, extractor)
    protocol = RealProtocol(index.fingerprint, index.resolution, index.crop, index.filter, split="train", real=real, **extractor.protocol)
    result = Reference(
        **{"train": train[:kept], "train_structure": train_structure[:kept], "train_rows": train_rows[:kept]},
        **{"holdout": holdout[:real], "holdout_structure": holdout_structure[:real], "holdout_rows": holdout_rows[:real]},
        components=components,
        protocol=protocol,
        floor=floor,
    )
    write_reference(folder, result)
    return result


def shuffle(count: int) -> Tensor:
    """Returns 0 … count - 1 in the fixed random order that every reference uses."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(ORDER_SEED))


def extract_split(extractor: Extractor, shards: Path, split: Split, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the features (N, D) of some images of a split, and their averages for the structure space."""
    batches = (gather(shards, split, batch) for batch in rows.split(BATCH[extractor.device.type]))
    return extract_with_averages(extractor, batches, f"real images, {split}", len(rows))


def gather(shards: Path, split: Split, rows: Tensor) -> Tensor:
    """Returns the uint8 images (B, 3, H, W) at ``rows`` of a split, in that order."""
    parts = open_split(shards, split)
    starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
    places = torch.searchsorted(starts, rows, right=True) - 1
    return torch.stack([parts[place][row - starts[place]] for place, row in zip(places.tolist(), rows.tolist(), strict=True)])


def write_reference(folder: Path, reference: Reference) -> None:
    """Writes the reference's two files, after removing an old reference.json. Raises FaceganError if writing fails."""
    discard(folder / INFO)
    write_bytes(folder / FEATURES, save({name: getattr(reference, name).cpu().contiguous() for name in TENSORS}))
    info = ReferenceInfo(protocol=reference.protocol, floor=reference.floor, features_sha256=hash_file(folder / FEATURES))
    write_sealed_json(folder / INFO, info.model_dump(mode="json"))


def read_reference(folder: Path, device: torch.device | str = "cpu") -> Reference:
    """Returns what ``write_reference`` wrote. Raises FaceganError if it is missing, damaged, modified, or not a reference."""
    info = read_sealed_json(folder / INFO, ReferenceInfo, REMEDY)
    path = folder / FEATURES
    if hash_file(path) != info.features_sha256:
        raise FaceganError(f"expected the features of the real images in {path} with their original hash; found another hash; {REMEDY}")
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            header = {name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            problem = find_problem(header, info)
            tensors = {} if problem else {name: file.get_tensor(name) for name in TENSORS}
    except SafetensorError as error:
        raise FaceganError(f"expected a safetensors file at {path}; found something else ({printable(str(error))}); {REMEDY}") from None
    if not problem and not all(value.isfinite().all() for value in tensors.values()):
        problem = "NaN or infinite features"
    if problem:
        raise FaceganError(f"expected the features that {folder / INFO} describes in {path}; found {problem}; {REMEDY}")
    return Reference(**tensors, protocol=info.protocol, floor=info.floor)


def find_problem(header: dict[str, tuple[str, list[int]]], info: ReferenceInfo) -> str | None:
    """Returns what is wrong with tensors of these types and shapes, by name; None if they form a valid reference."""
    if {name: dtype for name, (dtype, _) in header.items()} != TENSORS:
        return "other tensors"
    shapes = {name: shape for name, (_, shape) in header.items()}
    count = {split: shapes[f"{split}_rows"] for split in ("train", "holdout")}  # each [N]
    widths = {space: shapes[f"train{space}"][1:] for space in ("", "_structure")}  # [D] and [K]
    expected = {f"{split}{space}": rows + width for split, rows in count.items() for space, width in widths.items()}
    expected["components"] = [*widths["_structure"], 3 * SIZE**2]
    if any(len(shape) != 2 or shapes[name] != shape for name, shape in expected.items()):
        return f"shapes {shapes}"
    if not FEWEST_IMAGES <= info.protocol.real <= shapes["train"][0]:
        return f"{shapes['train'][0]} training images"
    return None


def check_shards(reference: Reference, index: Index, shards: Path) -> None:
    """Raises FaceganError unless these shards are the ones that the reference was computed from."""
    expected, found = reference.protocol.data, index.fingerprint
    if expected != found:
        raise FaceganError(f"expected the images of the reference ({expected[:12]}) in {shards}; found others ({found[:12]}); {REMEDY}")
