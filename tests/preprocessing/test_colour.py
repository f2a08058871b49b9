"""Colour profiles: known colours of Display P3 and Rec. 2020 in sRGB, after the matrices in the W3C's CSS Color Module Level 4."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from facegan.preprocessing.colour import PRIMARIES, build_profile
from facegan.preprocessing.images import Photo, read_image

COLOUR = (200, 140, 110)  # skin
TO_SRGB = {  # linear light, section 10.7
    9: [[1.6604910, -0.5876411, -0.0728499], [-0.1245505, 1.1328999, -0.0083494], [-0.0181508, -0.1005789, 1.1187297]],
    12: [[1.2249402, -0.2249402, 0.0], [-0.0420570, 1.0420570, 0.0], [-0.0196376, -0.0786360, 1.0982736]],
}


def expect(primaries: int) -> np.ndarray:
    """Returns COLOUR with these primaries in sRGB."""
    values = np.array(COLOUR) / 255
    linear = np.array(TO_SRGB[primaries]) @ np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return 255 * (1.055 * linear ** (1 / 2.4) - 0.055)


def encode(format: str, mode: str = "RGB", color=COLOUR, **options) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (64, 64), color).save(file, format, **options)
    return file.getvalue()


def read(content: bytes) -> np.ndarray:
    return read_image("a photo", content, 32, "square", "box").mean((1, 2))  # (3,)


@pytest.mark.parametrize("primaries", PRIMARIES)
@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_profile_is_applied(format, primaries):
    content = encode(format, quality=95, icc_profile=build_profile(PRIMARIES[primaries]))
    assert np.abs(read(content) - expect(primaries)).max() < 3


@pytest.mark.parametrize("primaries", PRIMARIES)
def test_nclx_of_heif_is_applied(primaries):
    nclx = {"color_primaries": primaries, "transfer_characteristics": 13, "matrix_coefficients": 6, "full_range_flag": 1}
    assert np.abs(read(encode("HEIF", quality=95, save_nclx_profile=True, **nclx)) - expect(primaries)).max() < 3


def test_srgb_profile_changes_nothing():
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    assert (read_image("a photo", file.getvalue(), 32, "none", "box") == noise.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    ("mode", "color", "profile"),
    [("RGB", COLOUR, b"damaged"), ("CMYK", (0, 0, 0, 0), build_profile(PRIMARIES[12])), ("L", 128, build_profile(PRIMARIES[12])[:200])],
)
def test_damaged_or_wrong_profile_is_ignored(mode, color, profile):
    photo = Photo(encode("TIFF", mode, color, icc_profile=profile))
    expected = {"RGB": COLOUR, "CMYK": (255, 255, 255), "L": (128, 128, 128)}[mode]
    assert photo.to_srgb(photo.decode()).getpixel((0, 0)) == expected and photo.has_damaged_profile
