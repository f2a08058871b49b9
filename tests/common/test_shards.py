"""Shards: what goes in comes out, and nothing else passes for a shard."""

import hashlib
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import ROOT
from safetensors.torch import load_file

from facegan.common.errors import FaceganError
from facegan.common.shards import (
    HEADER_BYTES,
    SHARD_BYTES,
    Index,
    ShardWriter,
    make_header,
    open_split,
    read_index,
    read_labels,
    view_labels,
    view_pictures,
)

SIZE = 28
IMAGE_BYTES = 3 * SIZE * SIZE


def draw_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, SIZE, SIZE), dtype=np.uint8)  # (N, 3, H, W)


def write(folder: Path, images: np.ndarray, every: int = 5, shard_bytes: int = SHARD_BYTES, source: str = "photos") -> Index:
    """Files the images, each ``every``-th as held out."""
    with ShardWriter(folder, SIZE, shard_bytes) as writer:
        for number, image in enumerate(images):
            writer.add("holdout" if number % every == 0 else "train", image)
        return writer.finish("square", "lanczos", source)


def read_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_what_goes_in_comes_out_in_order(tmp_path):
    images = draw_images(23)
    index = write(tmp_path, images)
    assert (index.train, index.holdout, index.resolution, index.crop, index.filter) == (18, 5, SIZE, "square", "lanczos")
    held_out = np.arange(23) % 5 == 0
    (train,), (holdout,) = open_split(tmp_path, "train"), open_split(tmp_path, "holdout")
    assert train.dtype == torch.uint8 and train.shape == (18, 3, SIZE, SIZE)
    assert (train.numpy() == images[~held_out]).all() and (holdout.numpy() == images[held_out]).all()
    assert sorted(read_files(tmp_path)) == ["holdout-00000.safetensors", "index.json", "train-00000.safetensors"]


def test_the_index_reads_back_as_it_was_written(tmp_path):
    index = write(tmp_path, draw_images(5))
    assert read_index(tmp_path) == index and index.crop == "square"
    with ShardWriter(tmp_path, SIZE) as writer:
        writer.add("train", draw_images(1)[0])
        index = writer.finish((0, 10, 89, 99), "box", "photos")
    assert read_index(tmp_path) == index and index.crop == (0, 10, 89, 99) and index.holdout == 0
    assert open_split(tmp_path, "holdout") == []


def test_shards_are_plain_safetensors_and_hashed(tmp_path):
    images = draw_images(9)
    index = write(tmp_path, images)
    assert (load_file(tmp_path / "train-00000.safetensors")["images"].numpy() == images[np.arange(9) % 5 != 0]).all()
    for shard in index.shards:
        content = (tmp_path / shard.file).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (shard.sha256, shard.bytes)


def test_a_full_shard_begins_the_next(tmp_path):
    images = draw_images(14)
    limit = HEADER_BYTES + 4 * IMAGE_BYTES + 1
    index = write(tmp_path, images, every=15, shard_bytes=limit)
    assert [(shard.split, shard.images) for shard in index.shards] == [*[("train", 4)] * 3, ("train", 1), ("holdout", 1)]
    assert all((tmp_path / shard.file).stat().st_size == shard.bytes <= limit for shard in index.shards)
    assert (torch.cat(open_split(tmp_path, "train")).numpy() == images[1:]).all()
    assert (np.array(view_pictures(tmp_path, index, "train", [0, 3, 4, 12])) == images[[1, 4, 5, 13]]).all()


def test_labels_are_next_to_the_images(tmp_path):
    images, limit = draw_images(14), HEADER_BYTES + 4 * (IMAGE_BYTES + 2)
    columns = {"Smiling": ("0", "1"), "hair": ("black", "brown", "red")}
    with ShardWriter(tmp_path, SIZE, limit, columns) as writer:
        for number, image in enumerate(images):
            writer.add("train" if number else "holdout", image, (number % 2, number % 3))
        index = writer.finish("square", "lanczos", "photos")
    assert read_index(tmp_path) == index and [column.name for column in index.labels] == ["Smiling", "hair"]
    assert [(column.values, column.counts) for column in index.labels] == [(("0", "1"), (6, 7)), (("black", "brown", "red"), (4, 5, 4))]
    labels = read_labels(tmp_path, "train")
    assert [len(part) for part in labels] == [len(part) for part in open_split(tmp_path, "train")] == [4, 4, 4, 1]
    assert torch.cat(labels).dtype == torch.uint8 and torch.cat(labels).tolist() == [[number % 2, number % 3] for number in range(1, 14)]
    assert (view_labels(tmp_path, index, "train") == torch.cat(labels).numpy()).all()
    assert torch.cat(read_labels(tmp_path, "holdout")).tolist() == [[0, 0]]
    assert (torch.cat(open_split(tmp_path, "train")).numpy() == images[1:]).all()
    assert all((tmp_path / shard.file).stat().st_size == shard.bytes <= limit for shard in index.shards)


def test_without_labels_there_are_no_columns(tmp_path):
    assert write(tmp_path, draw_images(5)).labels == () and "labels" not in json.loads((tmp_path / "index.json").read_text())
    assert [part.shape for part in read_labels(tmp_path, "train")] == [(4, 0)]
    with pytest.raises(ValueError, match="zip"), ShardWriter(tmp_path, SIZE, columns={"Smiling": ("0", "1")}) as writer:
        writer.add("train", draw_images(1)[0])


def test_no_shard_is_larger_than_256_mb(tmp_path):
    for resolution in (28, 64, 512):
        count = ShardWriter(tmp_path, resolution).images_per_shard
        size = len(make_header(count, resolution)) + count * 3 * resolution**2
        assert 255_000_000 < size <= 256_000_000


def test_the_same_images_give_the_same_bytes_and_others_another_fingerprint(tmp_path):
    images = draw_images(12)
    first = write(tmp_path / "a", images)
    assert write(tmp_path / "b", images) == first
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    changed = images.copy()
    changed[7, 0, 0, 0] ^= 1
    others = [write(tmp_path / "c", changed), write(tmp_path / "d", images, every=4), write(tmp_path / "e", images, source="other photos")]
    assert len({first.fingerprint, *(index.fingerprint for index in others)}) == 4


def test_an_earlier_run_leaves_nothing_behind(tmp_path):
    write(tmp_path, draw_images(14), shard_bytes=HEADER_BYTES + 2 * IMAGE_BYTES)
    with ShardWriter(tmp_path, SIZE) as writer:
        assert read_files(tmp_path) == {}
        writer.add("train", draw_images(1)[0])
        with pytest.raises(FaceganError, match=r"found no index\.json; run the stage preprocess"):
            read_index(tmp_path)
    assert write(tmp_path, draw_images(3)).train == 2
    assert sorted(read_files(tmp_path)) == ["holdout-00000.safetensors", "index.json", "train-00000.safetensors"]


def test_writing_holds_one_picture_at_a_time(tmp_path):
    image = draw_images(1)[0]
    with ShardWriter(tmp_path, SIZE) as writer:
        tracemalloc.start()
        for _ in range(10_000):  # 23.5 MB
            writer.add("train", image)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 3_000_000


def test_reading_maps_and_copies_nothing(tmp_path):
    with ShardWriter(tmp_path, 512) as writer:
        for number in range(128):  # 100 MB
            writer.add("train", np.full((3, 512, 512), number, np.uint8))
        writer.finish("none", "lanczos", "photos")
    program = """
import sys, psutil, torch
from pathlib import Path
from facegan.common.shards import open_split
open_split(Path(sys.argv[2]), "train")
before = psutil.Process().memory_info().rss
(images,) = open_split(Path(sys.argv[1]), "train")
assert images[100].unique().item() == 100
print(psutil.Process().memory_info().rss - before)
"""
    write(tmp_path / "small", draw_images(5))
    result = subprocess.run([sys.executable, "-c", program, tmp_path, tmp_path / "small"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 20_000_000


def test_a_picture_of_another_shape_or_type_is_refused(tmp_path):
    with ShardWriter(tmp_path, SIZE) as writer:
        for image in (np.zeros((3, SIZE, SIZE + 1), np.uint8), np.zeros((SIZE, SIZE, 3), np.uint8), np.zeros((3, SIZE, SIZE), np.float32)):
            with pytest.raises(ValueError, match="expected a uint8 picture"):
                writer.add("train", image)


def test_a_missing_torn_or_foreign_shard_is_named(tmp_path):
    write(tmp_path, draw_images(10))
    shard = tmp_path / "train-00000.safetensors"
    content = shard.read_bytes()  # 8 images of 28 px, as many bytes as 32 of 14 px
    foreign = {
        content[: len(content) // 2]: rf"found {len(content) // 2}; run",
        content + b"\0": rf"found {len(content) + 1}; run",
        bytes(len(content)): r"found another \(",
        make_header(32, 14) + content[HEADER_BYTES:]: r"found torch\.uint8 \(32, 3, 14, 14\)",
        make_header(8, SIZE).replace(b"images", b"pixels") + content[HEADER_BYTES:]: r"found another \(",
    }
    for changed, problem in foreign.items():
        shard.write_bytes(changed)
        with pytest.raises(FaceganError, match=rf"expected .*train-00000\.safetensors; {problem}.* the stage preprocess again"):
            open_split(tmp_path, "train")
    shard.unlink()
    with pytest.raises(FaceganError, match=r"expected the shard .*train-00000\.safetensors; found no such file"):
        open_split(tmp_path, "train")
    assert len(open_split(tmp_path, "holdout")) == 1


def test_a_single_flipped_bit_is_found(tmp_path):
    write(tmp_path, draw_images(10))
    shard = tmp_path / "train-00000.safetensors"
    content = bytearray(shard.read_bytes())
    assert len(open_split(tmp_path, "train")[0]) == 8  # found whole, and changed after that
    content[-100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(FaceganError, match=r"train-00000\.safetensors as it was written; found other bytes; run the stage preprocess"):
        open_split(tmp_path, "train")
    assert len(open_split(tmp_path, "holdout")[0]) == 2


def test_the_fingerprint_is_the_one_it_always_was(tmp_path):
    assert write(tmp_path, draw_images(3)).fingerprint == "eeaf25111f23872df0c4df08e7b1fc9fc4db57448dc46854211ca89767254ea3"


def test_a_full_disk_is_said_in_words_and_leaves_nothing_unfinished(tmp_path):
    program = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from facegan.common.errors import FaceganError
from facegan.common.shards import ShardWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with ShardWriter(Path(sys.argv[1]), 28) as writer:
        writer.add("holdout", np.zeros((3, 28, 28), np.uint8))
        for _ in range(100):
            writer.add("train", np.zeros((3, 28, 28), np.uint8))
except FaceganError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", program, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.startswith("expected to write ") and "train-00000.safetensors; found: File too large" in result.stdout, (
        result.stderr
    )
    assert read_files(tmp_path) == {}


def test_a_foreign_or_changed_index_is_refused(tmp_path):
    write(tmp_path, draw_images(10))
    path = tmp_path / "index.json"
    content = json.loads(path.read_text())
    foreign = {
        b"{torn": "the file: Invalid JSON",
        b"[]": "the file: Input should be an object",
        json.dumps(content | {"format": "facegan-shards-9"}).encode(): "format: Input should be 'facegan-shards-1'",
        json.dumps({key: value for key, value in content.items() if key != "shards"}).encode(): "shards: Field required",
        json.dumps(content | {"colour": "blue"}).encode(): "colour: Extra inputs are not permitted",
        json.dumps(content | {"train": 9}).encode(): "as many images as the shards hold",
        json.dumps(content | {"source_fingerprint": "another"}).encode(): "found it changed since",
    }
    for text, problem in foreign.items():
        path.write_bytes(text)
        with pytest.raises(FaceganError, match=problem):
            read_index(tmp_path)
