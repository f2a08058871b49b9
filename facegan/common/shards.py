"""Shards: a data set of pictures on disk, writer beside reader.

In or out: a folder with ``index.json`` and safetensors files of at most 256 MB. Each holds one tensor, ``images``: uint8
(N, 3, H, W), RGB. Training pictures and held-out ones lie in separate files, both in the order in which they were added.

The writer streams: it holds one picture at a time, whatever the number. The reader maps: nothing is read before it is used.
The index is written last, so a folder that has one is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from facegan.common.errors import FaceganError

if TYPE_CHECKING:  # imported where it is used: preprocessing writes shards without torch
    from torch import Tensor

FORMAT = "facegan-shards-1"
SPLITS = ("train", "holdout")
SHARD_BYTES = 256_000_000
BUFFER_BYTES = 1_000_000
HEADER_BYTES = 4096  # a page, so that the pictures behind it start on one

Split = Literal["train", "holdout"]


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file: its name in the folder, which split it belongs to, how many images and bytes it holds, and its hash."""

    file: str
    split: Split
    images: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Index:
    """What a folder of shards holds and how it was made.

    Attributes:
        resolution: the images' height and width, in pixels.
        train, holdout: how many images each split has.
        crop: "none", "square" or [left, top, right, bottom], in pixels of the photos.
        filter: the resize filter's name.
        source_fingerprint: the photos and everything else that the shards were made from.
        fingerprint: everything above and the hash of every shard: two data sets with the same one are the same.
        shards: the files, in reading order.
    """

    resolution: int
    train: int
    holdout: int
    crop: str | tuple[int, int, int, int]
    filter: str
    source_fingerprint: str
    fingerprint: str
    shards: tuple[Shard, ...]


class ShardWriter:
    """Writes a folder of shards, picture by picture.

    What an earlier run left in the folder goes first, its index before all; the new index comes with ``finish``. Whatever
    happens in between, there is never an index beside shards that are not its own.
    """

    def __init__(self, folder: Path, resolution: int, shard_bytes: int = SHARD_BYTES):
        self.folder = Path(folder)
        self.resolution = resolution
        self.images_per_shard = max(1, (shard_bytes - HEADER_BYTES) // (3 * resolution * resolution))
        self.shards: list[Shard] = []
        self.open_files: dict[str, BinaryIO] = {}
        self.open_counts: dict[str, int] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in [self.folder / "index.json", *(file for split in SPLITS for file in sorted(self.folder.glob(f"{split}-*.safetensors*")))]:
            file.unlink(missing_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.open_files.values():
            file.close()

    def add(self, split: Split, image: np.ndarray) -> None:
        """Appends one picture (3, H, W) in uint8 to a split."""
        if image.dtype != np.uint8 or image.shape != (3, self.resolution, self.resolution):
            raise ValueError(f"expected a uint8 picture (3, {self.resolution}, {self.resolution}); found {image.dtype} {image.shape}")
        if split not in self.open_files:
            self.open_files[split] = self._unfinished(split).open("wb", buffering=BUFFER_BYTES)
            self.open_files[split].write(bytes(HEADER_BYTES))
            self.open_counts[split] = 0
        self.open_files[split].write(np.ascontiguousarray(image))
        self.open_counts[split] += 1
        if self.open_counts[split] == self.images_per_shard:
            self._close(split)

    def finish(self, crop: str | tuple[int, int, int, int], filter: str, source_fingerprint: str) -> Index:
        """Completes the shards, writes index.json and returns it."""
        for split in list(self.open_files):
            self._close(split)
        shards = tuple(sorted(self.shards, key=lambda shard: (SPLITS.index(shard.split), shard.file)))
        counts = {split: sum(shard.images for shard in shards if shard.split == split) for split in SPLITS}
        index = Index(self.resolution, **counts, crop=crop, filter=filter, source_fingerprint=source_fingerprint, fingerprint="", shards=shards)
        index = dataclasses.replace(index, fingerprint=compute_fingerprint(index))
        unfinished = self.folder / "index.json.part"
        unfinished.write_text(json.dumps({"format": FORMAT, **dataclasses.asdict(index)}, indent=1) + "\n")
        os.replace(unfinished, self.folder / "index.json")
        return index

    def _name(self, split: str) -> str:
        return f"{split}-{sum(shard.split == split for shard in self.shards):05d}.safetensors"

    def _unfinished(self, split: str) -> Path:
        return self.folder / (self._name(split) + ".part")

    def _close(self, split: str) -> None:
        """Puts the header, which names the count, before the pictures, and the file into its place."""
        unfinished, name, count = self._unfinished(split), self._name(split), self.open_counts.pop(split)
        with self.open_files.pop(split) as file:
            file.seek(0)
            file.write(make_header(count, self.resolution))
        with unfinished.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.shards.append(Shard(name, split, count, unfinished.stat().st_size, sha256))
        os.replace(unfinished, self.folder / name)


def make_header(count: int, resolution: int) -> bytes:
    """Returns a safetensors header of HEADER_BYTES for uint8 images (count, 3, resolution, resolution)."""
    shape = [count, 3, resolution, resolution]
    images = {"dtype": "U8", "shape": shape, "data_offsets": [0, count * 3 * resolution * resolution]}
    text = json.dumps({"__metadata__": {"format": FORMAT}, "images": images}).encode()
    size = HEADER_BYTES - 8
    return size.to_bytes(8, "little") + text.ljust(size)  # the format allows trailing spaces


def compute_fingerprint(index: Index) -> str:
    """Returns the SHA-256 over all that the index says, its own fingerprint aside."""
    return hashlib.sha256(json.dumps(dataclasses.asdict(index) | {"fingerprint": ""}, sort_keys=True).encode()).hexdigest()


def read_index(folder: Path) -> Index:
    """Returns the index of a folder of shards.

    Raises:
        FaceganError: no index, not one of ours, or one that was changed since it was written.
    """
    path = Path(folder) / "index.json"
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise FaceganError(f"expected shards in {folder}; found no index.json; run the stage preprocess") from None
    except ValueError as error:
        raise FaceganError(f"expected JSON in {path}; found something else ({error}); run the stage preprocess again") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise FaceganError(f"expected an index of format {FORMAT} in {path}; found another; run the stage preprocess again")
    try:
        shards = tuple(Shard(**shard) for shard in content.pop("shards"))
        crop = content.pop("crop")
        index = Index(**content, crop=crop if isinstance(crop, str) else tuple(crop), shards=shards)
    except (KeyError, TypeError) as error:
        raise FaceganError(f"expected an index of format {FORMAT} in {path}; found other keys ({error}); run the stage preprocess again") from None
    if compute_fingerprint(index) != index.fingerprint:
        raise FaceganError(f"expected {path} as it was written; found it changed since; run the stage preprocess again")
    return index


def open_split(folder: Path, split: Split) -> list[Tensor]:
    """Returns the split's images: for each shard a uint8 tensor (n, 3, H, W), mapped from the file and read as it is used.

    Raises:
        FaceganError: no index, or a shard that is missing, torn, or not the one that the index names.
    """
    index = read_index(folder)
    return [open_shard(Path(folder), shard, index.resolution) for shard in index.shards if shard.split == split]


def open_shard(folder: Path, shard: Shard, resolution: int) -> Tensor:
    """Returns one shard's images (n, 3, H, W). Raises FaceganError as ``open_split`` does."""
    from safetensors import SafetensorError, safe_open

    path = folder / shard.file
    remedy = "run the stage preprocess again"
    if not path.is_file():
        raise FaceganError(f"expected the shard {path}; found no such file; {remedy}")
    if path.stat().st_size != shard.bytes:
        raise FaceganError(f"expected {shard.bytes} bytes in the shard {path}; found {path.stat().st_size}; {remedy}")
    try:
        with safe_open(path, "pt") as file:
            images = file.get_tensor("images")
    except SafetensorError as error:
        raise FaceganError(f"expected a safetensors file with images at {path}; found another ({error}); {remedy}") from None
    shape = (shard.images, 3, resolution, resolution)
    if tuple(images.shape) != shape or str(images.dtype) != "torch.uint8":
        raise FaceganError(f"expected uint8 images {shape} in {path}; found {images.dtype} {tuple(images.shape)}; {remedy}")
    return images
