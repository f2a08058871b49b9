"""The real side of every score: features of real images, computed once and kept.

In: a folder of shards and an extractor. Out: a folder with ``features.safetensors`` and ``reference.json``. It depends on the
images, the extractor and the sizes asked for, on no model and no seed, so experiments share it. Reading it believes nothing: the
features are those whose hash ``reference.json`` holds, and of the shapes that its protocol says.

Each split is put into one fixed random order. The score's real images are the first training images; the next ones, and
where those do not suffice the held-out ones, are the second real set that the floor is measured with.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from facegan.common.errors import FaceganError, printable
from facegan.common.files import discard, hash_file, read_json, write_bytes, write_json
from facegan.common.progress import Progress
from facegan.common.shards import Index, open_split, read_index
from facegan.scoring.extractors import BATCH, Extractor, extract
from facegan.scoring.parameters import FEWEST_IMAGES
from facegan.scoring.protocol import RealProtocol
from facegan.scoring.scores import compare

ORDER_SEED = 0
FEATURES, ABOUT = "features.safetensors", "reference.json"
TENSORS = {"train": "F32", "holdout": "F32", "train_rows": "I64", "holdout_rows": "I64"}
REMEDY = "run stages/reference.py again"


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a score needs of the real images.

    Attributes:
        train, holdout: features (T, D) and (H, D), which scores are taken against and neighbours are sought among.
        train_rows, holdout_rows: which images of their split those are.
        protocol: how all this was made.
        floor: the scores of real images against other real images, and how many there were on each side.
    """

    train: Tensor
    holdout: Tensor
    train_rows: Tensor
    holdout_rows: Tensor
    protocol: RealProtocol
    floor: dict[str, Any]

    @property
    def real(self) -> Tensor:
        """The features (N, D) that scores are taken against."""
        return self.train[: self.protocol.real]


class About(BaseModel):
    """reference.json: all of a reference but its tensors, and the hash of the file that holds those."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: RealProtocol
    floor: dict[str, int | float]
    features_sha256: str


def make_reference(shards: Path, folder: Path, extractor: Extractor, images: int, memorisation_images: int | None) -> Reference:
    """Computes, writes and returns the reference.

    Args:
        shards: the folder of shards.
        folder: where to write.
        images: how many real images scores are taken against; all of the split when it has fewer.
        memorisation_images: how many training images neighbours are sought among; None: all.

    Raises:
        FaceganError: a split with too few images to score anything.
    """
    index = read_index(shards)
    orders = {name: shuffle(getattr(index, name)) for name in ("train", "holdout")}
    real = min(images, len(orders["train"]))
    if real < FEWEST_IMAGES:
        raise FaceganError(
            f"expected at least {FEWEST_IMAGES} training images to score against; found {len(orders['train'])}; give more photos"
        )
    searched = len(orders["train"]) if memorisation_images is None else min(memorisation_images, len(orders["train"]))
    lacking = max(0, 2 * real - len(orders["train"]))  # of the second real set, which the held-out images lend
    kept = {"train": max(searched, real), "holdout": real}
    rows = {"train": orders["train"][: max(2 * real, kept["train"])], "holdout": orders["holdout"][: max(lacking, kept["holdout"])]}
    train = extract(extractor, read_images(shards, "train", rows["train"], extractor))
    holdout = extract(extractor, read_images(shards, "holdout", rows["holdout"], extractor)) if len(rows["holdout"]) else train[:0]
    second = torch.cat([train[real : 2 * real], holdout[:lacking]])
    floor = {"images": len(second)}
    if len(second) >= FEWEST_IMAGES:
        floor |= compare(train[: len(second)], second, extractor.space, extractor.classifier)
    result = Reference(
        train=train[: kept["train"]],
        train_rows=rows["train"][: kept["train"]],
        holdout=holdout[: kept["holdout"]],
        holdout_rows=rows["holdout"][: kept["holdout"]],
        protocol=describe(index, extractor, real),
        floor=floor,
    )
    write_reference(folder, result)
    return result


def shuffle(count: int) -> Tensor:
    """Returns 0 … count - 1 in the one random order that every reference uses."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(ORDER_SEED))


def describe(index: Index, extractor: Extractor, real: int) -> RealProtocol:
    """Returns the real half of the protocol."""
    return RealProtocol(
        data=index.fingerprint,
        resolution=index.resolution,
        crop=index.crop,
        filter=index.filter,
        split="train",
        real=real,
        extractor=extractor.space,
        weights_sha256=extractor.weights_sha256,
        resize=extractor.resize,
    )


def read_images(shards: Path, split: str, rows: Tensor, extractor: Extractor) -> Iterator[Tensor]:
    """Yields uint8 batches (B, 3, H, W) of a split's rows, telling how far it is."""
    with Progress(f"real images, {split}", len(rows), "images") as progress:
        for batch in rows.split(BATCH[extractor.device.type]):
            yield gather(shards, split, batch)
            progress.add(len(batch))


def gather(shards: Path, split: str, rows: Tensor) -> Tensor:
    """Returns uint8 images (B, 3, H, W): those rows of a split, in that order."""
    parts = open_split(shards, split)
    starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
    places = torch.searchsorted(starts, rows, right=True) - 1
    return torch.stack([parts[place][row - starts[place]] for place, row in zip(places.tolist(), rows.tolist(), strict=True)])


def write_reference(folder: Path, reference: Reference) -> None:
    """Writes the reference's two files; what an earlier call left goes first. Raises FaceganError when the disk takes no more."""
    discard(folder / ABOUT)
    write_bytes(folder / FEATURES, save({name: getattr(reference, name).cpu().contiguous() for name in TENSORS}))
    about = About(protocol=reference.protocol, floor=reference.floor, features_sha256=hash_file(folder / FEATURES))
    write_json(folder / ABOUT, about.model_dump(mode="json"))


def read_reference(folder: Path, device: torch.device | str = "cpu") -> Reference:
    """Returns what ``write_reference`` wrote. Raises FaceganError when there is none, or it is torn, foreign or was changed."""
    about = read_json(folder / ABOUT, About, "run stages/reference.py")
    path = folder / FEATURES
    if hash_file(path) != about.features_sha256:
        raise FaceganError(f"expected the real images' features in {path} as they were written; found other bytes; {REMEDY}")
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            header = {name: (file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            problem = find_fault(header, about)
            tensors = {} if problem else {name: file.get_tensor(name) for name in TENSORS}
    except SafetensorError as error:
        raise FaceganError(f"expected a safetensors file at {path}; found another ({printable(str(error))}); {REMEDY}") from None
    if not problem and not all(value.isfinite().all() for value in tensors.values()):
        problem = "features that are NaN or infinite"
    if problem:
        raise FaceganError(f"expected the features that {folder / ABOUT} describes in {path}; found {problem}; {REMEDY}")
    return Reference(**tensors, protocol=about.protocol, floor=about.floor)


def find_fault(header: dict[str, tuple[str, list[int]]], about: About) -> str | None:
    """Returns what is wrong with tensors of these types and shapes, by name, in words; None where they are a reference's."""
    if {name: dtype for name, (dtype, _) in header.items()} != TENSORS:
        return "other tensors"
    shapes = {name: shape for name, (_, shape) in header.items()}
    pairs = [(shapes[split], shapes[f"{split}_rows"]) for split in ("train", "holdout")]
    if not all(len(features) == 2 and rows == features[:1] for features, rows in pairs) or shapes["train"][1] != shapes["holdout"][1]:
        return f"shapes {shapes}"
    if not FEWEST_IMAGES <= about.protocol.real <= shapes["train"][0]:
        return f"{shapes['train'][0]} training images"
    return None


def check_shards(reference: Reference, index: Index, shards: Path) -> None:
    """Raises FaceganError unless the reference was made of these shards."""
    expected, found = reference.protocol.data, index.fingerprint
    if expected != found:
        raise FaceganError(
            f"expected the images that the real features are of ({expected[:12]}) in {shards}; found others ({found[:12]}); {REMEDY}"
        )
