"""Pictures in any format to uint8 tensors of one size.

In: the bytes of a picture file. Out: (3, H, W) in uint8, RGB. The steps, in this order: decode the first frame, turn it
upright as its EXIF orientation says, make it RGB, crop, resize with antialiasing.

A file is judged by its header before it is decoded: only the formats that photos come in are opened, and no more pixels are decoded
than ``MAX_PIXELS``. A larger JPEG is shrunk by libjpeg on the way (Pillow's draft mode), where enough of the crop remains: two pixels
for each of the result. JPEGs of up to 16 megapixels are decoded at full size, since draft mode changes the result a little. Colour
profiles are not applied.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import get_args

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from facegan.common.errors import FaceganError, printable
from facegan.photos.formats import FORMATS
from facegan.preprocessing.parameters import Crop, Filter

OPENED = sorted(set(FORMATS.values()) - {"MPO"})  # which begins as a JPEG and is opened as one
FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Filter)}
MAX_PIXELS = 64_000_000  # decoded at once; 192 MB in RGB
MAX_JPEG_PIXELS = 250_000_000  # of a JPEG that is shrunk while it is decoded, row by row
WHOLE_JPEG_PIXELS = 16_000_000
OVERSAMPLING = 2  # how many decoded pixels in a row stand behind one of the result, at least, where a JPEG is shrunk
SHRINKS = (8, 4, 2, 1)  # by which libjpeg divides height and width
STRIP_ROWS = 256

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS  # Pillow's own limit warns of honest photos and stops at 179 megapixels


class UnreadablePicture(Exception):
    """The bytes are no picture, or a damaged one; the reason in a few words."""


class Photo:
    """A picture file whose header was read and found harmless. Pixels are decoded when they are asked for.

    Attributes:
        size: width and height of the whole upright picture, in pixels.

    Raises:
        UnreadablePicture: an empty file, none of the formats that are read, or more pixels than are decoded.
    """

    def __init__(self, content: bytes):
        if not content:
            raise UnreadablePicture("an empty file")
        self.content = content
        with reasons_in_words():
            self.image = Image.open(io.BytesIO(content), formats=OPENED)
            self.is_jpeg = self.image.format in ("JPEG", "MPO")
            check_pixels(self.image, self.is_jpeg)
            self.orientation = read_orientation(self.image)
        width, height = self.image.size
        self.size = (height, width) if self.orientation in SIDEWAYS else (width, height)
        self.was_decoded = False

    def choose_shrink(self, spare: float) -> int:
        """Returns by how much to shrink while decoding: 8, 4, 2 or 1; always 1 for what is no JPEG.

        Args:
            spare: how many pixels of the whole picture, in a row, may become one. Where even the whole is more than is decoded at
                once, the answer is larger.
        """
        if not self.is_jpeg:
            return 1
        width, height = self.size
        return max(
            next(shrink for shrink in SHRINKS if shrink <= max(1, spare)), min(s for s in SHRINKS if width * height <= MAX_PIXELS * s * s)
        )

    def decode(self, shrink: int = 1) -> Image.Image:
        """Returns the upright RGB picture, a JPEG at 1/``shrink`` of its height and width.

        Raises:
            UnreadablePicture: a damaged file, or more pixels than are decoded at once.
        """
        with reasons_in_words():
            image = Image.open(io.BytesIO(self.content), formats=OPENED) if self.was_decoded else self.image
            self.was_decoded = True
            if shrink > 1:
                image.draft(None, (image.width // shrink, image.height // shrink))
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePicture(f"{image.width * image.height:,} pixels to decode; at most {MAX_PIXELS:,}")
            image.load()
            if self.orientation in TURNS:
                image = image.transpose(TURNS[self.orientation])
            return convert_to_rgb(image)


@contextlib.contextmanager
def reasons_in_words() -> Iterator[None]:
    """Turns whatever Pillow raises into UnreadablePicture."""
    try:
        yield
    except UnreadablePicture:
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture("no picture in a format that is read") from None
    except Exception as error:  # Pillow's decoders raise whatever their parsing stumbles over
        raise UnreadablePicture(f"{type(error).__name__}: {printable(str(error))}") from error


def check_pixels(image: Image.Image, is_jpeg: bool) -> None:
    """Raises UnreadablePicture where the header promises more pixels than are decoded."""
    by_rows = is_jpeg and not image.info.get("progressive")  # of a progressive JPEG libjpeg holds all coefficients
    limit = MAX_JPEG_PIXELS if by_rows else MAX_PIXELS
    if image.width * image.height > limit:
        raise UnreadablePicture(f"{image.width:,} × {image.height:,} pixels; at most {limit:,} in a {image.format} file")


def read_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8; 1 where there is none, or none that makes sense.

    This one tag decides; whatever else stands in the metadata, and however odd it is, the pixels are whole.
    """
    if image.format == "TIFF":
        return 1  # Pillow turns these by itself
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # what the parsing of odd metadata stumbles over
        return 1
    return orientation if orientation in TURNS else 1


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
    photo = Photo(content)
    box = choose_box(name, photo.size, crop)
    shrink = 1
    if photo.size[0] * photo.size[1] > WHOLE_JPEG_PIXELS:
        shrink = photo.choose_shrink(min(box[2] - box[0], box[3] - box[1]) / (OVERSAMPLING * resolution))
    image = photo.decode(shrink)
    image = image.crop(tuple(round(edge / shrink) for edge in box))
    return to_array(image.resize((resolution, resolution), FILTERS[filter]))


def to_array(image: Image.Image) -> np.ndarray:
    """Returns an RGB picture as uint8 (3, H, W)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


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
        return lay_on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def lay_on_white(image: Image.Image) -> Image.Image:
    """Returns a picture with transparency as RGB on white, made in strips: as a whole it would be held four times."""
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB"), (0, top))
    return result


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
        raise FaceganError(
            f"expected the crop box {list(crop)} to lie in every picture; found {printable(name)} of {width}×{height}; change preprocess.crop"
        )
    return crop
