"""Shards: a data set of images on disk, their writer and their reader.

In or out: a folder with ``index.json`` and safetensors files of at most 256 MB. Each holds one tensor, ``images``: uint8
(N, 3, H, W), RGB; and, if the photos have labels, ``labels``: uint8 (N, columns), the position of the value in each column.
Training and held-out pictures are in separate files, both in the order in which they were added.

The writer streams: it holds one picture at a time, whatever the number. The reader maps: nothing is held before it is used; but
each file is read once, and its hash compared with the index.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, StringConstraints, model_serializer, model_validator

from facegan.common.errors import FaceganError
from facegan.common.files import PrintableText, compute_fingerprint, hash_file, read_json, replace_file, write_json
from facegan.common.labels import Column

if TYPE_CHECKING:  # imported where it is used: preprocessing writes shards without torch
    from torch import Tensor

FORMAT = "facegan-shards-1"
Split = Literal["train", "holdout"]
SPLITS: tuple[Split, ...] = ("train", "holdout")
SHARD_BYTES = 256_000_000
HEADER_BYTES = 4096  # a page, so that the pictures behind it start on one
REMEDY = "run the stage preprocess again"

Crop = PrintableText | tuple[int, ...]


class Shard(BaseModel):
    """One file: its name in the folder, which split it belongs to, how many images and bytes it holds, and its hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Annotated[
        str, StringConstraints(pattern=r"^(train|holdout)-\d{5,}\.safetensors$")
    ]  # a name, so it cannot point to another folder
    split: Split
    images: NonNegativeInt
    bytes: NonNegativeInt
    sha256: str


class Index(BaseModel):
    """What a folder of shards holds and how it was made.

    Attributes:
        resolution: the images' height and width, in pixels.
        train, holdout: how many images each split has.
        crop: "none", "square", how faces were cut out, or [left, top, right, bottom], in pixels of the photos.
        filter: the resize filter's name.
        source_fingerprint: the photos and everything else that the shards were made from.
        fingerprint: everything above and the hash of every shard: two data sets with the same one are the same.
        shards: the files, in reading order.
        labels: the columns of the labels; empty without labels, and then not in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["facegan-shards-1"] = "facegan-shards-1"
    resolution: PositiveInt
    train: NonNegativeInt
    holdout: NonNegativeInt
    crop: Crop
    filter: PrintableText
    source_fingerprint: PrintableText
    fingerprint: PrintableText
    shards: tuple[Shard, ...]
    labels: tuple[Column, ...] = ()

    @model_validator(mode="after")
    def has_the_images_of_its_shards(self) -> Index:
        """Refuses an index whose shards hold more or fewer images than it says."""
        if any(getattr(self, split) != sum(shard.images for shard in self.shards if shard.split == split) for split in SPLITS):
            raise ValueError("as many images as the shards hold")
        if any(sum(column.counts) != self.train for column in self.labels):
            raise ValueError("counts of label values that add up to the training images")
        return self

    @model_serializer(mode="wrap")
    def leave_out_missing_labels(self, write: Any) -> dict[str, Any]:
        """Returns the fields, without labels if there are none."""
        return {name: value for name, value in write(self).items() if name != "labels" or self.labels}

    def compute_fingerprint(self) -> str:
        """Returns the SHA-256 of everything except the fingerprint and the format."""
        return compute_fingerprint(self.model_dump(mode="json", exclude={"format"}))


class ShardWriter:
    """Writes a folder of shards, picture by picture.

    Files of an earlier run are removed first, starting with the index; ``finish`` writes the new index. So the folder never has an index
    of other shards.

    Args:
        columns: the values of each column of labels, by its name.
    """

    def __init__(self, folder: Path, resolution: int, shard_bytes: int = SHARD_BYTES, columns: Mapping[str, Sequence[str]] | None = None):
        self.folder = Path(folder)
        self.resolution = resolution
        self.columns = columns or {}
        self.images_per_shard = max(1, (shard_bytes - HEADER_BYTES) // (3 * resolution * resolution + len(self.columns)))
        self.shards: list[Shard] = []
        self.replacements: dict[str, AbstractContextManager[BinaryIO]] = {}
        self.open_files: dict[str, BinaryIO] = {}
        self.open_counts: dict[str, int] = {}
        self.open_labels: dict[str, bytearray] = {}
        self.label_counts = [[0] * len(values) for values in self.columns.values()]  # of training images
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in [
            self.folder / "index.json",
            *(file for split in SPLITS for file in sorted(self.folder.glob(f"{split}-*.safetensors*"))),
        ]:
            file.unlink(missing_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        for replacement in self.replacements.values():
            replacement.__exit__(GeneratorExit, GeneratorExit(), None)  # discards what is unfinished

    def add(self, split: Split, image: np.ndarray, labels: Sequence[int] = ()) -> None:
        """Appends one picture (3, H, W) in uint8, and the position of its value in each column, to a split.

        Raises:
            FaceganError: the disk is full.
        """
        if image.dtype != np.uint8 or image.shape != (3, self.resolution, self.resolution):
            raise ValueError(f"expected a uint8 picture (3, {self.resolution}, {self.resolution}); found {image.dtype} {image.shape}")
        if split not in self.open_files:
            self.replacements[split] = replace_file(self.folder / self._name(split))
            self.open_files[split] = self.replacements[split].__enter__()
            self.open_counts[split], self.open_labels[split] = 0, bytearray()
            self._write(split, bytes(HEADER_BYTES))
        self._write(split, np.ascontiguousarray(image))
        self.open_counts[split] += 1
        self.open_labels[split] += bytes(labels)
        for counts, label in zip(self.label_counts, labels, strict=True):
            counts[label] += split == "train"
        if self.open_counts[split] == self.images_per_shard:
            self._close(split)

    def finish(self, crop: Crop, filter: str, source_fingerprint: str) -> Index:
        """Completes the shards, writes index.json and returns it."""
        for split in list(self.open_files):
            self._close(split)
        shards = tuple(sorted(self.shards, key=lambda shard: (SPLITS.index(shard.split), shard.file)))
        counts = {split: sum(shard.images for shard in shards if shard.split == split) for split in SPLITS}
        index = Index(
            resolution=self.resolution,
            **counts,
            crop=crop,
            filter=filter,
            source_fingerprint=source_fingerprint,
            fingerprint="",
            shards=shards,
            labels=tuple(
                Column(name=name, values=tuple(values), counts=tuple(counts))
                for (name, values), counts in zip(self.columns.items(), self.label_counts, strict=True)
            ),
        )
        index = index.model_copy(update={"fingerprint": index.compute_fingerprint()})
        write_json(self.folder / "index.json", index.model_dump(mode="json"))
        return index

    def _name(self, split: str) -> str:
        return f"{split}-{sum(shard.split == split for shard in self.shards):05d}.safetensors"

    def _write(self, split: str, content: Any, at_start: bool = False) -> None:
        """Writes to a split's file. An error goes through ``replace_file``, which says it in words."""
        try:
            if at_start:
                self.open_files[split].seek(0)
            self.open_files[split].write(content)
        except OSError as error:
            self.replacements.pop(split).__exit__(type(error), error, error.__traceback__)

    def _close(self, split: str) -> None:
        """Puts the header, which names the count, before the pictures, and the file into its place."""
        name, count = self._name(split), self.open_counts.pop(split)
        self._write(split, self.open_labels.pop(split))
        self._write(split, make_header(count, self.resolution, len(self.columns)), at_start=True)
        del self.open_files[split]
        self.replacements.pop(split).__exit__(None, None, None)
        path = self.folder / name
        self.shards.append(Shard(file=name, split=split, images=count, bytes=path.stat().st_size, sha256=hash_file(path)))


def make_header(count: int, resolution: int, columns: int = 0) -> bytes:
    """Returns a safetensors header of HEADER_BYTES for uint8 images (count, 3, resolution, resolution) and labels (count, columns)."""
    shape, end = [count, 3, resolution, resolution], count * 3 * resolution * resolution
    tensors = {"images": {"dtype": "U8", "shape": shape, "data_offsets": [0, end]}}
    if columns:
        tensors["labels"] = {"dtype": "U8", "shape": [count, columns], "data_offsets": [end, end + count * columns]}
    text = json.dumps({"__metadata__": {"format": FORMAT}, **tensors}).encode()
    size = HEADER_BYTES - 8
    return size.to_bytes(8, "little") + text.ljust(size)  # the format allows trailing spaces


def read_index(folder: Path) -> Index:
    """Returns the index of a folder of shards.

    Raises:
        FaceganError: no index, not one of ours, or one that was changed since it was written.
    """
    path = Path(folder) / "index.json"
    if not path.is_file():
        raise FaceganError(f"expected shards in {folder}; found no index.json; run the stage preprocess")
    index = read_json(path, Index, REMEDY)
    if index.compute_fingerprint() != index.fingerprint:
        raise FaceganError(f"expected {path} as it was written; found it changed since; {REMEDY}")
    return index


def open_split(folder: Path, split: Split) -> list[Tensor]:
    """Returns the split's images: for each shard a uint8 tensor (n, 3, H, W), mapped from the file.

    The first time in a process each file is read from end to end and its hash compared: about two seconds a gigabyte.

    Raises:
        FaceganError: no index, or a shard that is missing, truncated or modified.
    """
    index = read_index(folder)
    shape = (3, index.resolution, index.resolution)
    return [open_shard(Path(folder), shard, "images", shape) for shard in index.shards if shard.split == split]


def read_labels(folder: Path, split: Split) -> list[Tensor]:
    """Returns the split's labels: for each shard of ``open_split`` a uint8 tensor (n, columns), the position of the value in each column.

    Without labels there are no columns. Raises FaceganError as ``open_split`` does.
    """
    import torch

    index = read_index(folder)
    shards = [shard for shard in index.shards if shard.split == split]
    if not index.labels:
        return [torch.zeros(shard.images, 0, dtype=torch.uint8) for shard in shards]
    return [open_shard(Path(folder), shard, "labels", (len(index.labels),)) for shard in shards]


def open_shard(folder: Path, shard: Shard, name: str, shape: tuple[int, ...]) -> Tensor:
    """Returns one tensor of a shard: uint8 (n, *shape). Raises FaceganError as ``open_split`` does."""
    from safetensors import SafetensorError, safe_open

    path = folder / shard.file
    if not path.is_file():
        raise FaceganError(f"expected the shard {path}; found no such file; {REMEDY}")
    status = path.stat()
    if status.st_size != shard.bytes:
        raise FaceganError(f"expected {shard.bytes} bytes in the shard {path}; found {status.st_size}; {REMEDY}")
    try:
        with safe_open(path, "pt") as file:
            tensor = file.get_tensor(name)
    except SafetensorError as error:
        raise FaceganError(f"expected a safetensors file with {name} at {path}; found another ({error}); {REMEDY}") from None
    expected = (shard.images, *shape)
    if tuple(tensor.shape) != expected or str(tensor.dtype) != "torch.uint8":
        raise FaceganError(f"expected uint8 {name} {expected} in {path}; found {tensor.dtype} {tuple(tensor.shape)}; {REMEDY}")
    if hash_once(path.resolve(), status.st_size, status.st_mtime_ns, status.st_ino) != shard.sha256:
        raise FaceganError(f"expected the shard {path} as it was written; found other bytes; {REMEDY}")
    return tensor


@functools.lru_cache(maxsize=1000)
def hash_once(path: Path, *version: int) -> str:
    """Returns a file's SHA-256, computed once in a process for each version of the file."""
    return hash_file(path)


def view_pictures(folder: Path, index: Index, split: Split, numbers: list[int]) -> list[np.ndarray]:
    """Returns some of a split's pictures (3, H, W) by their numbers, without torch and unchecked, just after they were written."""
    shape = (3, index.resolution, index.resolution)
    shards = [
        np.memmap(folder / shard.file, np.uint8, "r", HEADER_BYTES, (shard.images, *shape))
        for shard in index.shards
        if shard.split == split
    ]
    starts = np.cumsum([0, *(len(shard) for shard in shards)])
    places = np.searchsorted(starts, numbers, side="right") - 1
    return [np.array(shards[place][number - starts[place]]) for place, number in zip(places, numbers, strict=True)]


def view_labels(folder: Path, index: Index, split: Split) -> np.ndarray:
    """Returns a split's labels (N, columns) in uint8, without torch and unchecked, just after they were written."""
    size = 3 * index.resolution**2
    parts = [
        np.fromfile(folder / shard.file, np.uint8, offset=HEADER_BYTES + shard.images * size)
        for shard in index.shards
        if shard.split == split
    ]
    return np.concatenate([np.zeros(0, np.uint8), *parts]).reshape(-1, len(index.labels))
