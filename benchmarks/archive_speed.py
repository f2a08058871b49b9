"""Measures the cost of reading a zip file with Python's ``zipfile`` and all checks, compared with a reader without checks.

    python benchmarks/archive_speed.py [--photos 100000] [--repeats 5]

Packs distinct JPEGs of 1.1 KB (32×32 pixels), stored without compression, into a zip file in a temporary folder. Then, alternating and on
one core, the project's reader (``facegan.photos.zip_archive``) opens it, lists the names and reads every member once, and the baseline does
the same. The baseline is about twenty lines that unpack the directory into a table of offsets and read each member at its offset; like the
project's reader it verifies the CRC, but nothing else. The benchmark prints CPU time, which depends less on other load.
"""

import argparse
import io
import os
import statistics
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.photos.zip_archive import ZipStore  # noqa: E402 (the path above must come first)

DISTINCT = 500  # images; each is repeated with a different comment
END = struct.Struct("<4s 8x 2I 2x")  # signature, bytes and offset of the directory
ENTRY = struct.Struct("<16x I I 4x 3H 8x I")  # CRC, stored bytes, lengths of name, extra field and comment, offset
HEADER = struct.Struct("<26x 2H")  # lengths of name and extra field


def draw_archive(path: Path, photos: int) -> None:
    """Writes a zip file with the given number of distinct JPEGs."""
    random = np.random.default_rng(0)
    pictures = []
    for _ in range(DISTINCT):
        file = io.BytesIO()
        pixels = np.kron(random.integers(0, 256, (8, 8, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
        Image.fromarray(pixels).save(file, "JPEG", quality=80)
        pictures.append(file.getvalue()[:-2])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(photos):
            comment = b"\xff\xfe\x00\x08" + f"{number:06d}".encode()
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", pictures[number % DISTINCT] + comment + b"\xff\xd9")


def open_ours(path: Path) -> tuple[ZipStore, list[str]]:
    """Returns the project's reader and the names of the members."""
    store = ZipStore(path)
    return store, [name for name, _ in store.list_files()]


def read_ours(opened: tuple[ZipStore, list[str]]) -> Iterator[bytes]:
    """Yields the content of every member."""
    store, names = opened
    return store.read_all(names)


def open_plainly(path: Path) -> tuple[int, list[tuple[str, int, int, int]]]:
    """Returns an open file descriptor and the name, offset, size and CRC of each member, sorted by name."""
    file = os.open(path, os.O_RDONLY)
    size = os.fstat(file).st_size
    _, directory_bytes, offset = END.unpack(os.pread(file, END.size, size - END.size))
    directory, at, members = os.pread(file, directory_bytes, offset), 0, []
    while at < len(directory):
        crc, stored, name_bytes, extra_bytes, comment_bytes, offset = ENTRY.unpack_from(directory, at)
        at += ENTRY.size
        members.append((directory[at : at + name_bytes].decode(), offset, stored, crc))
        at += name_bytes + extra_bytes + comment_bytes
    return file, sorted(members)


def read_plainly(opened: tuple[int, list[tuple[str, int, int, int]]]) -> Iterator[bytes]:
    """Yields the content of every member."""
    file, members = opened
    for _, offset, stored, crc in members:
        content = os.pread(file, stored, offset + HEADER.size + sum(HEADER.unpack(os.pread(file, HEADER.size, offset))))
        assert zlib.crc32(content) == crc
        yield content
    os.close(file)


def measure(path: Path, open_archive: Callable, read_all: Callable) -> tuple[float, float, int]:
    """Returns the CPU seconds for opening and for reading everything, and a checksum of the content."""
    began = time.process_time()
    opened = open_archive(path)
    opening, checksum = time.process_time() - began, 0
    began = time.process_time()
    for content in read_all(opened):
        checksum ^= len(content) ^ content[-3]
    return opening, time.process_time() - began, checksum


def main(arguments: argparse.Namespace) -> None:
    """Creates the archive, measures both readers alternately, and prints a table."""
    readers = {"facegan.photos.zip_archive": (open_ours, read_ours), "the baseline": (open_plainly, read_plainly)}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photos.zip"
        draw_archive(path, arguments.photos)
        print(
            f"{arguments.photos:,} photos, {path.stat().st_size / 1e6:.0f} MB; "
            f"CPU seconds, median (smallest to largest) of n = {arguments.repeats}"
        )
        for _ in range(arguments.repeats):
            results = {name: measure(path, *functions) for name, functions in readers.items()}
            assert len({checksum for *_, checksum in results.values()}) == 1
            for name, (opening, reading, _) in results.items():
                seconds[name].append((opening, reading))
    for name, pairs in seconds.items():
        opening, reading, both = zip(*((opening, reading, opening + reading) for opening, reading in pairs), strict=True)
        columns = [f"{statistics.median(part):.2f} ({min(part):.2f} to {max(part):.2f})" for part in (opening, reading, both)]
        print(f"| {name} | {' | '.join(columns)} | {statistics.median(both) / arguments.photos * 1e6:.0f} µs per photo |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=100_000, help="number of photos (default: 100,000)")
    parser.add_argument("--repeats", type=int, default=5, help="number of measurements (default: 5)")
    main(parser.parse_args())
