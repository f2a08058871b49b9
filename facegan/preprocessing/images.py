"""Pictures in any format to uint8 tensors of one size.

In: the bytes of a picture file. Out: (3, H, W) in uint8, RGB. The steps, in this order: decode the first frame, turn it
upright as its EXIF orientation says, make it RGB, crop, resize with antialiasing.

JPEGs are decoded at full size, though libjpeg could shrink them faster on the way (Pillow's draft mode): that changes the
result. Colour profiles are not applied.
"""

import io
from typing import get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from facegan.common.errors import FaceganError
from facegan.preprocessing.parameters import Crop, Filter

FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Filter)}


class UnreadablePicture(Exception):
    """The bytes are no picture, or a damaged one; the reason in a few words."""


def read_image(name: str, content: bytes, resolution: int, crop: Crop, filter: Filter) -> np.ndarray:
    """Returns the picture as uint8 RGB (3, resolution, resolution).

    Args:
        name: what to call the picture in an error.
        content: the bytes of a picture file.
        resolution: height and width to resize to, in pixels.
        crop: "none" takes the whole picture and so squeezes one that is not square, "square" takes the largest centred
            square, and (left, top, right, bottom) takes that box, in pixels of the upright picture.
        filter: the resampling kernel, widened when it shrinks.

    Raises:
        UnreadablePicture: no picture, or a damaged one.
        FaceganError: the crop box leaves the picture.
    """
    image = decode(content)
    image = image.crop(choose_box(name, image.size, crop))
    image = image.resize((resolution, resolution), FILTERS[filter])
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # (3, H, W)


def decode(content: bytes) -> Image.Image:
    """Returns the upright RGB picture. Raises UnreadablePicture."""
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return convert_to_rgb(image)
    except UnidentifiedImageError:
        raise UnreadablePicture("no picture format that Pillow knows") from None
    except Exception as error:  # Pillow's decoders raise whatever their parsing stumbles over
        raise UnreadablePicture(f"{type(error).__name__}: {error}") from error


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Returns the picture in RGB with 8 bits a channel.

    What is transparent becomes white, as on paper. Of 16 bits the high 8 remain, which is what Pillow itself does with
    16-bit colour; with 16-bit grey it would clip instead. CMYK is converted without a profile.
    """
    if image.mode.startswith("I"):
        return Image.fromarray(take_high_byte(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        raise UnreadablePicture("pixels in floating point, whose white is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def take_high_byte(values: np.ndarray) -> np.ndarray:
    """Returns 16-bit grey values (H, W) in 0 to 65,535 as uint8. Raises UnreadablePicture for values outside."""
    if values.min() < 0 or values.max() > 65535:
        raise UnreadablePicture("grey values of more than 16 bits, whose white is unknown")
    return (values >> 8).astype(np.uint8)


def choose_box(name: str, size: tuple[int, int], crop: Crop) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of the crop in a picture of ``size`` (width, height), in pixels.

    Raises:
        FaceganError: the box leaves the picture.
    """
    width, height = size
    if crop == "none":
        return 0, 0, width, height
    if crop == "square":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side
    _, _, right, bottom = crop
    if right > width or bottom > height:
        raise FaceganError(f"expected the crop box {list(crop)} to lie in every picture; found {name} of {width}×{height}; change preprocess.crop")
    return crop
