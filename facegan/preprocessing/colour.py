"""Converts images with a colour profile to sRGB, by Pillow's ImageCms (Little CMS).

In: an image and the ICC profile in its file, or the nclx colour description of an HEIF file (ITU-T H.273). Out: the image in sRGB. Profiles
that differ from sRGB by at most ``TOLERANCE`` levels are ignored: most photos have one, and their pixels are unchanged.
"""

import functools
import io
import struct

import numpy as np
from PIL import Image, ImageCms

TOLERANCE = 2
# Chromaticities of red, green and blue by their number in H.273; the white is D65.
PRIMARIES = {9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), 12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))}
D65_WHITE, D50_WHITE = np.array([0.95046, 1.0, 1.08906]), np.array([0.9642, 1.0, 0.8249])  # XYZ
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
LATTICE = np.stack(np.meshgrid(*3 * [np.linspace(0, 255, 9).astype(np.uint8)]), axis=-1).reshape(27, 27, 3)  # colours to compare


class DamagedProfile(Exception):
    """A colour profile cannot be used, or is for other images: a CMYK profile in an RGB image."""


def find_profile(image: Image.Image) -> bytes | None:
    """Returns the ICC profile of an opened image, or one that corresponds to its nclx description, or None."""
    nclx = image.info.get("nclx_profile") or {}
    primaries = nclx.get("color_primaries") if isinstance(nclx, dict) else None
    return image.info.get("icc_profile") or (build_profile(PRIMARIES[primaries]) if primaries in PRIMARIES else None)


def convert_to_srgb(image: Image.Image, profile: bytes, is_cmyk: bool = False) -> Image.Image:
    """Returns an RGB image, or a CMYK image, in sRGB. Raises DamagedProfile."""
    transform = build_transform(profile, is_cmyk)
    if transform is None:
        return image
    result = ImageCms.applyTransform(image.convert(transform.inputMode), transform)
    assert result is not None  # it is None in place only
    return result


@functools.lru_cache(maxsize=32)
def build_transform(profile: bytes, is_cmyk: bool) -> ImageCms.ImageCmsTransform | None:
    """Returns the transform to sRGB, or None if the profile is almost sRGB. Raises DamagedProfile."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(source.profile.xcolor_space.strip(), "")
        if (mode == "CMYK") != is_cmyk or not mode:
            raise DamagedProfile
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
        if is_cmyk:
            return transform
        before = Image.fromarray(LATTICE).convert(mode)
        after = ImageCms.applyTransform(before, transform)
        difference = np.asarray(after, int) - np.asarray(before.convert("RGB"), int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise DamagedProfile from error
    return transform if np.abs(difference).max() > TOLERANCE else None


@functools.cache
def build_profile(primaries: tuple[tuple[float, float], ...]) -> bytes:
    """Returns an ICC profile (ICC.1:2001-04) with these primaries, the white D65 and the curve of sRGB."""
    colours = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T  # XYZ in columns
    to_xyz = colours * np.linalg.solve(colours, D65_WHITE)
    adapted = np.linalg.solve(BRADFORD, np.diag(BRADFORD @ D50_WHITE / (BRADFORD @ D65_WHITE)) @ BRADFORD) @ to_xyz

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(65536 * value) for value in values))

    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(*SRGB_CURVE)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(*D50_WHITE)}
    for number, colour in enumerate((b"r", b"g", b"b")):
        tags |= {colour + b"XYZ": b"XYZ " + bytes(4) + fixed(*adapted[:, number]), colour + b"TRC": curve}
    table, data, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    size = struct.pack(">I", start + len(data))
    header = size + bytes(4) + struct.pack(">I", 0x04200000) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + fixed(*D50_WHITE)
    return header.ljust(128, b"\0") + table + data
