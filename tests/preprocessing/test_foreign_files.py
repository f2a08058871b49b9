"""Files from phones and from strangers: what is read, what is never opened, and how much memory it takes."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from facegan.photos.formats import FORMATS
from facegan.photos.selection import is_photo
from facegan.preprocessing.images import MAX_JPEG_PIXELS, MAX_PIXELS, Photo, UnreadablePicture, read_image

ROOT = Path(__file__).resolve().parents[2]
ORIENTATION = 0x0112
TOP_RED = np.concatenate([np.full((24, 32, 3), (200, 30, 30), np.uint8), np.full((24, 32, 3), (30, 30, 200), np.uint8)])  # (H, W, 3)


def encode(picture: np.ndarray, format: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format, **options)
    return file.getvalue()


def is_top_red(content: bytes) -> bool:
    """Returns whether a file shows TOP_RED upright."""
    picture = np.asarray(Photo(content).decode()).astype(int)
    return (
        picture.shape == TOP_RED.shape
        and np.abs(picture[4:20] - TOP_RED[4:20]).max() < 12
        and np.abs(picture[28:44] - TOP_RED[28:44]).max() < 12
    )


# An EPS whose preview Ghostscript draws, and what Pillow would open besides.
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n0 0 40 40 rectfill\nshowpage\n%%EOF\n"
FOREIGN = {
    "EPS": EPS,
    "XBM": b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0,1,2,3,4,5,6,7};\n",
    "FITS": b"".join(
        card.ljust(80)
        for card in (
            b"SIMPLE  =                    T",
            b"BITPIX  =                    8",
            b"NAXIS   =                    2",
            b"NAXIS1  =                   40",
            b"NAXIS2  =                   40",
            b"END",
        )
    ).ljust(2880)
    + bytes(2880),
    "PSD": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 40, 40, 8, 3) + bytes(12) + bytes(2 + 3 * 40 * 40),
    "ICO": encode(TOP_RED, "ICO", sizes=[(32, 32)]),
    "ICNS": encode(np.zeros((32, 32, 3), np.uint8), "ICNS"),
    "PCX": encode(TOP_RED, "PCX"),
    "PDF": encode(TOP_RED, "PDF"),
    "IM": encode(TOP_RED, "IM"),
    "DDS": encode(TOP_RED, "DDS"),
    "MSP": encode(TOP_RED[..., 0] > 100, "MSP"),
    "SPIDER": encode(TOP_RED[..., 0].astype(np.float32), "SPIDER"),
    "TGA of a text": b"this is no picture, and a TGA has no magic number by which to know it",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_formats_that_no_suffix_promises_are_never_opened(kind):
    with pytest.raises(UnreadablePicture, match=r"no picture in a format that is read|Error"):
        Photo(FOREIGN[kind]).decode()


def test_a_disguised_eps_starts_no_program(tmp_path):
    program = """
import sys
from facegan.preprocessing.images import Photo, UnreadablePicture
try:
    Photo(open(sys.argv[1], "rb").read()).decode()
except UnreadablePicture:
    pass
"""
    naive = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"
    mark = tmp_path / "ghostscript-ran"
    for name in ("gs", "gswin64c", "gswin32c"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho ran > {mark}\n")
        (tmp_path / name).chmod(0o755)
    photo = tmp_path / "holiday.jpg"
    photo.write_bytes(EPS)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert subprocess.run([sys.executable, "-c", program, photo], cwd=ROOT, env=environment).returncode == 0
    assert not mark.exists()
    subprocess.run([sys.executable, "-c", naive, photo], cwd=ROOT, env=environment, capture_output=True)
    assert mark.exists()  # the trap works: Pillow left to itself springs it


def test_every_suffix_that_is_listed_is_read():
    for suffix, format in FORMATS.items():
        if format == "HEIF":
            file = io.BytesIO()
            pillow_heif.from_pillow(Image.fromarray(TOP_RED)).save(file, quality=95)
            content = file.getvalue()
        else:
            picture = TOP_RED[..., 0] if suffix in (".pgm", ".pbm") else TOP_RED
            options = {"quality": 95} if format in ("JPEG", "AVIF") else {}
            content = encode(picture, {".dib": "DIB", ".mpo": "MPO"}.get(suffix, format), **options)
        assert is_photo(f"IMG_0001{suffix.upper()}")
        assert read_image("a photo", content, 28, "none", "lanczos").shape == (3, 28, 28)
        assert suffix in (".pgm", ".pbm") or is_top_red(content), suffix


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_and_avif_photos_are_upright(orientation):
    turned = np.ascontiguousarray(np.rot90(TOP_RED, {1: 0, 3: 2, 6: 1, 8: -1}[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert is_top_red(encode(turned, "AVIF", quality=95, exif=exif))
    file = io.BytesIO()
    image = Image.fromarray(turned)
    image.getexif()[ORIENTATION] = orientation  # which the file then says twice, as phones do: in EXIF and in the container
    image.save(file, "HEIF", quality=95)
    assert is_top_red(file.getvalue())


def odd_exif(orientation: int) -> bytes:
    """Returns EXIF with an orientation, and beside it a width that is a text: Pillow reads it, and cannot write it again."""
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"wide") + struct.pack("<HHIHxx", ORIENTATION, 3, 1, orientation)
    return b"Exif\0\0" + b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_odd_metadata_beside_an_orientation_costs_no_photo(format):
    turned = np.ascontiguousarray(np.rot90(TOP_RED, 1))
    assert is_top_red(encode(turned, format, exif=odd_exif(6), **({} if format == "PNG" else {"quality": 95})))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(orientation):
    assert is_top_red(encode(TOP_RED, "JPEG", quality=95, exif=odd_exif(orientation)))


def test_phone_photos_with_more_behind_them_are_read():
    jpeg = encode(TOP_RED, "JPEG", quality=95)
    motion = jpeg + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40  # a short film follows the picture
    file = io.BytesIO()
    gain_map = Image.new("L", (16, 24), 128)
    Image.fromarray(TOP_RED).save(file, "MPO", quality=95, save_all=True, append_images=[gain_map])
    several = file.getvalue()
    note = b'<x:xmpmeta><rdf:Description hdrgm:Version="1.0"/></x:xmpmeta>'
    segment = b"http://ns.adobe.com/xap/1.0/\0" + b" " + note
    ultra_hdr = several[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + several[2:]
    for content in (motion, several, ultra_hdr):
        assert is_top_red(content)


def test_an_empty_file_is_called_empty():
    with pytest.raises(UnreadablePicture, match=r"^an empty file$"):
        Photo(b"")


def png_of(width: int, height: int) -> bytes:
    """Returns a small PNG file whose header promises so many pixels."""
    content = bytearray(encode(np.zeros((1, 1, 3), np.uint8), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("size", [(13_300, 13_300), (2**31 - 1, 2**31 - 1), (65_000, 1_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    with pytest.raises(
        UnreadablePicture, match=rf"^{size[0]:,} × {size[1]:,} pixels; at most {MAX_PIXELS:,} in a PNG file$|DecompressionBomb"
    ):
        Photo(png_of(*size))
    assert MAX_PIXELS < MAX_JPEG_PIXELS


def run_measured(tmp_path: Path, content: bytes, crop: str = "square") -> tuple[str, float]:
    """Returns what another process says of a file, and how many MB it came to hold for it."""
    program = """
import resource, sys
from facegan.preprocessing.images import UnreadablePicture, read_image
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, content = peak(), open(sys.argv[1], "rb").read()
try:
    print(read_image("photo", content, 64, "square", "lanczos")[:, 32, 8].tolist())
except UnreadablePicture as error:
    print(error)
print(peak() - before)
"""
    (tmp_path / "photo").write_bytes(content)
    result = subprocess.run([sys.executable, "-c", program, tmp_path / "photo"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    said, megabytes = result.stdout.splitlines()
    return said, float(megabytes)


def test_a_photo_of_48_megapixels_takes_little_memory(tmp_path):
    image = Image.new("RGB", (8064, 6048), (60, 120, 180))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90, subsampling="4:2:0")
    said, megabytes = run_measured(tmp_path, file.getvalue())
    assert np.abs(np.array(eval(said)) - (60, 120, 180)).max() <= 3
    assert megabytes < 40  # its pixels alone are 146 MB


def test_a_bomb_takes_no_memory(tmp_path):
    grey = Image.new("L", (13_300, 13_300))
    file = io.BytesIO()
    grey.save(file, "PNG")  # 170 KB
    said, megabytes = run_measured(tmp_path, file.getvalue())
    assert said == f"13,300 × 13,300 pixels; at most {MAX_PIXELS:,} in a PNG file" and megabytes < 10


def test_a_large_jpeg_shrunk_on_the_way_shows_the_same(tmp_path):
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).resize((6000, 5000), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95)
    photo = Photo(file.getvalue())
    assert photo.size == (6000, 5000) and photo.choose_shrink(7.9) == 4
    for crop in ("none", "square", (1001, 2003, 3002, 4004)):
        box = {"none": (0, 0, 6000, 5000), "square": (500, 0, 5500, 5000)}.get(crop, crop)
        whole = picture.crop(box).resize((64, 64), Image.Resampling.LANCZOS)
        read = read_image("photo", file.getvalue(), 64, crop, "lanczos")
        error = np.abs(read.transpose(1, 2, 0).astype(float) - np.asarray(whole)).mean()
        assert error < 2.5
