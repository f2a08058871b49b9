"""Fuzz test of the code that reads archives and images: no traceback, no photo lost silently, limited memory.

    python tests/fuzz_archives.py [--minutes 10] [--seed 0] [--zips 100000] [--pictures 20000]

Input number n is a function of (seed, n), so every failure can be reproduced. A damaged archive passes through the stage download and is
read like in preprocess. Either it is rejected with a one-line error; or every packed file is among the photos or counted as skipped, and
every photo has its original content. A damaged image is either decoded, cropped and resized, or reported as unreadable. The exit status
is 1 if that is not the case, if a process crashes, or if it uses more than a gigabyte of memory.
"""

import argparse
import contextlib
import functools
import io
import random
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from facegan.common.errors import FaceganError
from facegan.photos.parameters import DataParameters
from facegan.photos.selection import is_list
from facegan.photos.sources import download
from facegan.photos.store import open_photos
from facegan.preprocessing.images import UnreadablePicture, read_image

SHARED_MEMORY = Path("/dev/shm")  # used if there is one, to avoid waiting for a disk
MOST_MEMORY_MB = 1000
MOST_FINDINGS = 20  # then it stops
ODD_NUMBERS = (0, 1, 2, 21, 22, 30, 46, 0x7F, 0xFF, 0x7FFF, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
FORMATS = {  # of the original images: Pillow's name, modes, options
    "PNG": (("RGB", "RGBA", "L", "LA", "P", "1", "I;16"), ({}, {"compress_level": 0}, {"bits": 4})),
    "JPEG": (("RGB", "L", "CMYK"), ({}, {"progressive": True}, {"subsampling": 2, "quality": 30})),
    "GIF": (("RGB", "P", "L"), ({}, {"transparency": 0})),
    "BMP": (("RGB", "L", "1", "RGBA"), ({},)),
    "TIFF": (("RGB", "L", "CMYK", "RGBA", "I;16", "F"), ({}, *({"compression": name} for name in ("tiff_lzw", "jpeg", "tiff_deflate")))),
    "WEBP": (("RGB", "RGBA"), ({}, {"lossless": True})),
    "AVIF": (("RGB", "RGBA"), ({},)),
    "HEIF": (("RGB", "RGBA", "L"), ({}, {"tile_size": 16})),
    "MPO": (("RGB",), ({},)),
    "JPEG2000": (("RGB", "L", "RGBA"), ({},)),
    "PPM": (("RGB", "L", "1"), ({},)),
    "TGA": (("RGB", "L", "RGBA"), ({}, {"compression": "tga_rle"})),
    "SGI": (("RGB", "L"), ({},)),
}


NAMES = ("faces/{}.png", "{}.jpg", "größe/{}.webp", "例{}.png", "a b/{}.JPG", "notes{}.txt", "x{}o.gif", ".h{}.png", "{}.mov")


class Finding(Exception):
    """A violation."""


def fuzz_zip(seed: int, number: int, folder: Path) -> str:
    """Reads one damaged archive and returns the outcome. Raises Finding, or any exception of the code under test."""
    draw = random.Random(f"zip {seed} {number}")
    files, content = make_zip(draw)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(ZIP_MUTATIONS)(draw, content)
    (folder / "fuzzed.zip").write_bytes(content)
    try:
        parameters = DataParameters(
            source="archive", path="fuzzed.zip", count=1, style=None, only=None, where=None, limit=None, labels=None
        )
        manifest = download(parameters, folder / "raw", folder)
        photos = open_photos(folder / "raw")
        for name, photo in zip(photos.names, photos.read_all(), strict=True):
            if photo not in files.values():
                raise Finding(f"{name!r} has other content than was packed")
            with contextlib.suppress(UnreadablePicture):
                read_image(name, photo, 28, "none", "box")
    except FaceganError as error:
        if not str(error).isprintable() or "found" not in str(error):
            raise Finding(f"the message {str(error)!r}") from None
        return "rejected"
    reported = len(photos.names) + sum(manifest.left_out.values())
    packed = sum(not is_list(name) for name in files)
    if reported != packed:
        raise Finding(f"{packed} files were packed, and {reported} are photos or skipped")
    return "complete"


def make_zip(draw: random.Random) -> tuple[dict[str, bytes], bytes]:
    """Returns the files in an archive, and the archive, in one of the variants that tools write."""
    files, file = {}, io.BytesIO()
    if draw.random() < 0.2:
        file.write(draw.randbytes(draw.randrange(1, 300)))  # a self-extracting archive
    streamed = draw.random() < 0.2
    mode = "w" if streamed or not file.tell() else "a"
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(Stream(file) if streamed else file, mode) as archive:
        if draw.random() < 0.3:
            archive.comment = draw.randbytes(draw.randrange(1, 40))
        for number in range(draw.randrange(1, 8)):
            info = zipfile.ZipInfo(draw.choice(NAMES).format(number))
            info.compress_type = draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            if draw.random() < 0.2:
                info.extra = struct.pack("<2H5s", 0x5455, 5, b"\x01time")
            if draw.random() < 0.2:
                info.comment = b"a face"
            files[info.filename] = draw.choice(small_pictures()) + draw.randbytes(draw.randrange(4))
            with archive.open(info, "w", force_zip64=draw.random() < 0.2) as member:
                member.write(files[info.filename])
        if draw.random() < 0.2:
            archive.mkdir("folder")
        if draw.random() < 0.2:
            files["list_eval_partition.csv"] = b"image_id,partition\n0.png,0\n"
            archive.writestr("list_eval_partition.csv", files["list_eval_partition.csv"])
    return files, file.getvalue()


class Stream:
    """A file that only supports writing: zipfile then writes the sizes after each member."""

    def __init__(self, file: io.BytesIO):
        self.write, self.flush = file.write, file.flush


@functools.cache
def small_pictures() -> tuple[bytes, ...]:
    """Returns a few image files, an empty file and a text."""
    return (*(encode(random.Random(number), "PNG" if number % 2 else "JPEG", (16, 16)) for number in range(6)), b"", b"no picture")


def encode(draw: random.Random, format: str, size: tuple[int, int]) -> bytes:
    """Returns an image of noise with one of the format's modes and options."""
    modes, options = FORMATS[format]
    file, noise = io.BytesIO(), Image.frombytes("RGB", size, draw.randbytes(3 * size[0] * size[1]))
    mode, chosen = draw.choice(modes), dict(draw.choice(options))
    try:
        (noise.convert("L") if mode in ("1", "I;16") else noise).convert(mode).save(file, format, **chosen)
    except (OSError, ValueError, KeyError):  # the mode does not support these options
        file = io.BytesIO()
        noise.save(file, format)
    return file.getvalue()


def flip_bits(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8)) if changed else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut_end(draw: random.Random, content: bytes) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def cut_out(draw: random.Random, content: bytes) -> bytes:
    start = draw.randrange(len(content) + 1)
    return content[:start] + content[start + draw.choice((1, 4, 30, 46, 200)) :]


def put_in(draw: random.Random, content: bytes) -> bytes:
    start = draw.randrange(len(content) + 1)
    return content[:start] + draw.randbytes(draw.choice((1, 4, 30, 46, 200))) + content[start:]


def repeat_part(draw: random.Random, content: bytes) -> bytes:
    start, length, at = draw.randrange(len(content) + 1), draw.choice((4, 22, 46, 100, 1000)), draw.randrange(len(content) + 1)
    return content[:at] + content[start : start + length] + content[at:]


def overwrite_number(draw: random.Random, content: bytes) -> bytes:
    return put_number(draw, content, draw.randrange(len(content) + 1), draw.choice(["<H", "<I", ">H", ">I"]))


def put_number(draw: random.Random, content: bytes, at: int, format: str) -> bytes:
    """Returns the content with another number at an offset: an unusual one, or one close to the original."""
    width = struct.calcsize(format)
    if at + width > len(content):
        return content
    [old] = struct.unpack_from(format, content, at)
    value = draw.choice((*ODD_NUMBERS, len(content), old + 1, old - 1, old * 2, draw.getrandbits(32))) % (1 << 8 * width)
    return content[:at] + struct.pack(format, value) + content[at + width :]


def edit_record(signature: bytes, fields: dict[int, str]) -> Callable[[random.Random, bytes], bytes]:
    """Returns a mutation of a random field (offset and format) in a random record with this signature."""

    def edit(draw: random.Random, content: bytes) -> bytes:
        places = [at for at in range(len(content)) if content.startswith(signature, at)]
        at, format = draw.choice(list(fields.items()))
        return put_number(draw, content, draw.choice(places) + at, format) if places else content

    return edit


def overlap(draw: random.Random, content: bytes) -> bytes:
    """Replaces the offset of one member of an archive by that of another."""
    places = [at for at in range(len(content) - 46) if content.startswith(b"PK\x01\x02", at)]
    if len(places) < 2:
        return content
    one, other = draw.sample(places, 2)
    return content[: one + 42] + content[other + 42 : other + 46] + content[one + 46 :]


def swell(draw: random.Random, content: bytes) -> bytes:
    """Replaces a member's content by megabytes of zeros, deflated, or appends them."""
    compressor = zlib.compressobj(wbits=-15)
    zeros = compressor.compress(bytes(draw.choice((10**6, 4 * 10**6)))) + compressor.flush()
    places = [at for at in range(len(content) - 30) if content.startswith(b"PK\x03\x04", at)]
    at = draw.choice(places) + 40 if places else len(content)
    return content[:at] + zeros + content[at + len(zeros) :]


edit_entry = edit_record(b"PK\x01\x02", {6: "<H", 8: "<H", 10: "<H", 16: "<I", 20: "<I", 24: "<I", 28: "<H", 30: "<H", 32: "<H", 42: "<I"})
edit_header = edit_record(b"PK\x03\x04", {6: "<H", 8: "<H", 14: "<I", 18: "<I", 22: "<I", 26: "<H", 28: "<H"})
edit_end = edit_record(b"PK\x05\x06", {4: "<H", 6: "<H", 8: "<H", 10: "<H", 12: "<I", 16: "<I", 20: "<H"})
ANY_MUTATIONS = (flip_bits, flip_bits, cut_end, cut_out, put_in, repeat_part, overwrite_number)
ZIP_MUTATIONS = (*ANY_MUTATIONS, edit_entry, edit_entry, edit_entry, edit_header, edit_end, edit_end, overlap, swell)


def fuzz_picture(seed: int, number: int, folder: Path) -> str:
    """Reads one damaged image and returns the outcome. Raises Finding, or any exception of the code under test."""
    draw = random.Random(f"picture {seed} {number}")
    format = draw.choice(list(FORMATS))
    content = encode(draw, format, (draw.randrange(1, 80), draw.randrange(1, 80)))
    for _ in range(draw.choice((1, 1, 2, 3))):
        content = draw.choice((*ANY_MUTATIONS, edit_start))(draw, content)
    if format == "PNG":
        content = correct_checksums(content)
    try:
        image = read_image("fuzzed", content, 32, draw.choice(("none", "square")), draw.choice(("lanczos", "box")))
    except UnreadablePicture as error:
        if not str(error).isprintable():
            raise Finding(f"the reason {str(error)!r}") from None
        return f"{format} unreadable"
    if image.shape != (3, 32, 32):
        raise Finding(f"an image of {image.shape}")
    return f"{format} read"


def edit_start(draw: random.Random, content: bytes) -> bytes:
    """Changes a number in the first hundred bytes, where most formats store sizes."""
    return put_number(draw, content, draw.randrange(min(100, len(content) + 1)), draw.choice(["<H", "<I", ">H", ">I"]))


def correct_checksums(content: bytes) -> bytes:
    """Returns a PNG file with correct checksums, so that Pillow reads beyond the first damaged chunk."""
    corrected, at = bytearray(content), 8
    while at + 12 <= len(corrected):
        [length] = struct.unpack_from(">I", corrected, at)
        if at + 12 + length > len(corrected):
            break
        struct.pack_into(">I", corrected, at + 8 + length, zlib.crc32(corrected[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(corrected)


KINDS = {"zips": fuzz_zip, "pictures": fuzz_picture}


def fuzz(kind: str, seed: int, count: int, seconds: float) -> bool:
    """Runs up to ``count`` inputs within a time limit. Prints a summary, and returns whether all passed."""
    import resource  # not on Windows

    started, outcomes, findings, number = time.monotonic(), Counter[str](), 0, 0
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        while number < count and time.monotonic() - started < seconds and findings < MOST_FINDINGS:
            if number % 1000 == 0:
                print(f"{kind}, from number {number}", flush=True)  # if the process crashes, at one of the next thousand
            try:
                outcomes[KINDS[kind](seed, number, Path(folder))] += 1
            except Exception:
                findings += 1
                print(f"{kind} --seed {seed}, number {number}: {traceback.format_exc()}", flush=True)
            number += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    counts = ", ".join(f"{times:,} {outcome}" for outcome, times in sorted(outcomes.items()))
    print(
        f"{number:,} {kind} in {time.monotonic() - started:,.0f} s, seed {seed}: {counts}; {findings} findings; peak memory {peak:,.0f} MB"
    )
    return not findings and peak < MOST_MEMORY_MB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="time limit, half of it for each kind (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--zips", type=int, default=10**9, help="maximum number of archives")
    parser.add_argument("--pictures", type=int, default=10**9, help="maximum number of images")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    passed = [fuzz(kind, chosen.seed, getattr(chosen, kind), chosen.minutes * 30) for kind in KINDS]
    sys.exit(not all(passed))
