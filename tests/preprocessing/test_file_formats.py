"""Image files from phones and from untrusted sources: supported formats, rejected formats, and memory use."""

import io
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from projects import ROOT

from facegan.photos.formats import FORMATS
from facegan.photos.selection import is_photo
from facegan.preprocessing.colour import PRIMARIES, build_profile
from facegan.preprocessing.images import MAX_PIXELS, MAX_SCANS, ORIENTATION, Photo, UnreadablePicture, read_image

TOP_RED = np.concatenate([np.full((24, 32, 3), (200, 30, 30), np.uint8), np.full((24, 32, 3), (30, 30, 200), np.uint8)])  # (H, W, 3)


def encode(picture: np.ndarray | Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, format, **options)
    return file.getvalue()


def is_top_red(content: bytes) -> bool:
    """Returns whether a file shows TOP_RED upright."""
    picture = np.asarray(Photo(content).decode()).astype(int)
    inner = np.r_[4:20, 28:44]  # without the edges, which lossy formats change
    return picture.shape == TOP_RED.shape and np.abs(picture[inner] - TOP_RED[inner]).max() < 12


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n0 0 40 40 rectfill\nshowpage\n%%EOF\n"
FITS = ("SIMPLE  =                    T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 40", "NAXIS2  = 40", "END")
UNSUPPORTED = {
    "EPS": EPS,
    "XBM": b"#define x_width 8\n#define x_height 8\nstatic char x_bits[] = {0,1,2,3,4,5,6,7};\n",
    "FITS": b"".join(card.ljust(80).encode() for card in FITS).ljust(2880) + bytes(2880),
    "PSD": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 40, 40, 8, 3) + bytes(12) + bytes(2 + 3 * 40 * 40),
    "ICO": encode(TOP_RED, "ICO", sizes=[(32, 32)]),
    "ICNS": encode(np.zeros((32, 32, 3), np.uint8), "ICNS"),
    "PCX": encode(TOP_RED, "PCX"),
    "PDF": encode(TOP_RED, "PDF"),
    "IM": encode(TOP_RED, "IM"),
    "DDS": encode(TOP_RED, "DDS"),
    "MSP": encode(TOP_RED[..., 0] > 100, "MSP"),
    "SPIDER": encode(TOP_RED[..., 0].astype(np.float32), "SPIDER"),
    "a text that may be a TGA": b"this is not an image, and a TGA file has no signature to recognise it by",
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_unsupported_formats_are_not_opened(kind):
    with pytest.raises(UnreadablePicture, match=r"not an image in a supported format|Error"):
        Photo(UNSUPPORTED[kind]).decode()


def test_disguised_eps_does_not_start_ghostscript(tmp_path):
    program = """
import sys
from facegan.preprocessing.colour import PRIMARIES, build_profile
from facegan.preprocessing.images import Photo, UnreadablePicture
try:
    Photo(open(sys.argv[1], "rb").read()).decode()
except UnreadablePicture:
    pass
"""
    control = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"
    mark = tmp_path / "ghostscript-ran"
    for name in ("gs", "gswin64c", "gswin32c"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho ran > {mark}\n")
        (tmp_path / name).chmod(0o755)
    photo = tmp_path / "holiday.jpg"
    photo.write_bytes(EPS)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert subprocess.run([sys.executable, "-c", program, photo], cwd=ROOT, env=environment).returncode == 0
    assert not mark.exists()
    subprocess.run([sys.executable, "-c", control, photo], cwd=ROOT, env=environment, capture_output=True)
    assert mark.exists()  # Pillow alone starts it


def test_every_listed_suffix_is_read():
    for suffix, format in FORMATS.items():
        is_grey = suffix in (".pgm", ".pbm")
        options = {"quality": 95} if format in ("JPEG", "AVIF", "HEIF") else {}
        content = encode(TOP_RED[..., 0] if is_grey else TOP_RED, format, **options)
        assert is_photo(f"IMG_0001{suffix.upper()}")
        assert read_image("a photo", content, 28, "none", "lanczos").shape == (3, 28, 28)
        assert is_grey or is_top_red(content), suffix


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heif_and_avif_orientation(orientation, format):
    image = Image.fromarray(np.ascontiguousarray(np.rot90(TOP_RED, {1: 0, 3: 2, 6: 1, 8: -1}[orientation])))
    image.getexif()[ORIENTATION] = orientation
    options = {"exif": image.getexif()} if format == "AVIF" else {}  # HEIF then has it in EXIF and in the container, as from phones
    assert is_top_red(encode(image, format, quality=95, **options))


def odd_exif(orientation: int) -> bytes:
    """Returns EXIF with an orientation, and with a width that is a text, which Pillow can read but not write."""
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"wide") + struct.pack("<HHIHxx", ORIENTATION, 3, 1, orientation)
    return b"Exif\0\0" + b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_read_from_odd_metadata(format):
    rotated = np.ascontiguousarray(np.rot90(TOP_RED, 1))
    assert is_top_red(encode(rotated, format, exif=odd_exif(6), **({} if format == "PNG" else {"quality": 95})))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_invalid_orientation_is_ignored(orientation):
    assert is_top_red(encode(TOP_RED, "JPEG", quality=95, exif=odd_exif(orientation)))


def test_jpegs_with_appended_data_are_read():
    motion = encode(TOP_RED, "JPEG", quality=95) + b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40  # a video follows
    gain_map = Image.new("L", (16, 24), 128)
    several = encode(TOP_RED, "MPO", quality=95, save_all=True, append_images=[gain_map])
    segment = b'http://ns.adobe.com/xap/1.0/\0 <x:xmpmeta><rdf:Description hdrgm:Version="1.0"/></x:xmpmeta>'
    ultra_hdr = several[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + several[2:]
    for content in (motion, several, ultra_hdr):
        assert is_top_red(content)


@pytest.mark.parametrize(("content", "reason"), [(b"", "an empty file"), (bytes(5000), "only zero bytes")])
def test_empty_file_is_reported(content, reason):
    with pytest.raises(UnreadablePicture, match=f"^{reason}"):
        Photo(content)


def encode_tiles(turns: int = 0) -> bytes:
    """Returns an HEIF file of tiles with a colour profile, as from phones, of noise."""
    noise = Image.fromarray(np.random.default_rng(0).integers(90, 160, (20, 25, 3), dtype=np.uint8)).resize((400, 300))
    if turns:
        noise.getexif()[ORIENTATION] = 6
    return encode(noise, "HEIF", quality=90, tile_size=64, icc_profile=build_profile(PRIMARIES[12]))


@pytest.mark.parametrize(
    ("share", "filled"), [(0.3, False), (0.6, False), (0.9, False), (0.99, False), (0.3, True), (0.6, True), (0.9, True)]
)
@pytest.mark.parametrize("turns", [0, 1])
def test_heif_with_missing_tiles_is_unreadable(share, turns, filled):
    content = encode_tiles(turns)
    assert Photo(content).decode().size == ((300, 400) if turns else (400, 300))
    kept = content[: int(share * len(content))]
    with pytest.raises(UnreadablePicture, match="a part of the image is missing|not an image" if filled else "^a truncated file"):
        Photo(kept + bytes(len(content) - len(kept)) + b"\1" if filled else kept).decode()


@pytest.mark.parametrize("format", ["HEIF", "AVIF", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_file_that_ends_in_zeros_is_unreadable(format, share):
    """As left by a download or a copy that reserved the space first. Decoders fill in what is missing."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    content = encode(noise, format)
    assert Photo(content).decode().size == (200, 200)
    kept = content[: int(share * len(content))]
    with pytest.raises(UnreadablePicture, match=r"^ends in zero bytes"):
        Photo(kept + bytes(len(content) - len(kept))).decode()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_that_lacks_its_end_is_unreadable(options):
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((320, 240))
    image.paste((128, 128, 128), (160, 120, 320, 240))
    content = encode(image, "JPEG", **options)
    assert Photo(content).decode().size == (320, 240)
    first_scan = content.index(b"\xff\xda")
    with pytest.raises(UnreadablePicture, match="a part of the image is missing"):
        Photo(content[: first_scan + 1000] + b"\xff\xd9").decode()


def test_jpeg_with_too_many_scans_is_not_decoded():
    content = encode(np.full((64, 64), 128, np.uint8), "JPEG", progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff\xda", content)]
    bomb = content[:-2] + content[scans[1] : scans[2]] * MAX_SCANS + content[-2:]
    with pytest.raises(UnreadablePicture, match="scans in a progressive JPEG"):
        Photo(bomb)
    video = b"\xff\xda\0\x08" * 2 * MAX_SCANS
    assert Photo(content + video).decode().size == (64, 64)


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_png_with_megabytes_of_metadata_is_read(kind):
    content = encode(TOP_RED, "PNG")
    assert is_top_red(content[:33] + chunk(kind, b"Comment\0\0" + zlib.compress(bytes(3_000_000))) + content[33:])


def test_image_with_too_few_pixels_is_reported():
    with pytest.raises(UnreadablePicture, match="too few pixels: 6 × 6; at least 8 on a side"):
        read_image("photo", encode(np.zeros((6, 60_000), np.uint8), "PNG"), 28, "square", "box")


def png_of(width: int, height: int) -> bytes:
    """Returns a small PNG file whose header states this size."""
    content = bytearray(encode(np.zeros((1, 1, 3), np.uint8), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("size", [(13_300, 13_300), (2**31 - 1, 2**31 - 1), (65_000, 1_000), (45_000_000, 1)])
def test_too_many_pixels_are_rejected_before_decoding(size):
    problem = rf"^{size[0]:,} × {size[1]:,} pixels; at most ({MAX_PIXELS:,} in a PNG file|65,535 on a side)$|DecompressionBomb"
    with pytest.raises(UnreadablePicture, match=problem):
        Photo(png_of(*size))


def run_measured(tmp_path: Path, content: bytes) -> tuple[str, float]:
    """Returns a pixel of the result, or the error, and the increase in peak memory in MB, in a new process."""
    program = """
import resource, sys
from facegan.preprocessing.colour import PRIMARIES, build_profile
from facegan.preprocessing.images import UnreadablePicture, read_image
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, content = peak(), open(sys.argv[1], "rb").read()
try:
    print(*read_image("photo", content, 64, "square", "lanczos")[:, 32, 8])
except UnreadablePicture as error:
    print(error)
print(peak() - before)
"""
    (tmp_path / "photo").write_bytes(content)
    run = subprocess.run([sys.executable, "-c", program, tmp_path / "photo"], cwd=ROOT, capture_output=True, text=True, check=True)
    printed, megabytes = run.stdout.splitlines()
    return printed, float(megabytes)


def test_48_megapixels_take_little_memory(tmp_path):
    content = encode(Image.new("RGB", (8064, 6048), (60, 120, 180)), "JPEG", quality=90, subsampling="4:2:0")
    printed, megabytes = run_measured(tmp_path, content)
    assert np.abs(np.array(printed.split(), int) - (60, 120, 180)).max() <= 3
    assert megabytes < 40  # the pixels at full size take 146 MB


def test_decompression_bomb_takes_no_memory(tmp_path):
    printed, megabytes = run_measured(tmp_path, encode(Image.new("L", (13_300, 13_300)), "PNG"))  # 170 KB
    assert printed == f"13,300 × 13,300 pixels; at most {MAX_PIXELS:,} in a PNG file" and megabytes < 10


def test_downscaled_jpeg_matches_full_decoding():
    random = np.random.default_rng(0)
    picture = Image.fromarray(random.integers(0, 256, (20, 24, 3), dtype=np.uint8)).resize((6000, 5000), Image.Resampling.BICUBIC)
    content = encode(picture, "JPEG", quality=95)
    photo = Photo(content)
    assert photo.size == (6000, 5000) and photo.choose_shrink(7.9) == 4
    for crop in ("none", "square", (1001, 2003, 3002, 4004)):
        box = {"none": (0, 0, 6000, 5000), "square": (500, 0, 5500, 5000)}.get(crop, crop)
        expected = np.asarray(picture.crop(box).resize((64, 64), Image.Resampling.LANCZOS))
        read = read_image("photo", content, 64, crop, "lanczos")
        assert np.abs(read.transpose(1, 2, 0).astype(float) - expected).mean() < 2.5
