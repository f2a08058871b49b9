"""Decodes image files of any supported format into uint8 arrays of one size.

In: the bytes of an image file. Out: (3, H, W) in uint8, RGB. The steps, in this order: decode the first frame, rotate it according to
its EXIF orientation, convert to RGB, crop, resize with antialiasing.

A file is checked by its header before it is decoded: only the supported formats are opened, and an image of more than ``MAX_PIXELS`` is
rejected, unless it is a JPEG. libjpeg downscales larger JPEGs while decoding (Pillow's draft mode), to no less than two pixels, in each
direction, for each of the result. JPEGs of up to 16 megapixels are decoded at full size, because draft mode changes the result
slightly. Colour profiles are applied to the resized image, and those of CMYK images while decoding.
"""

import contextlib
import io
import re
from collections.abc import Iterator
from typing import cast, get_args

import numpy as np
import pillow_heif
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from PIL.Image import Transpose

from facegan.common.errors import FaceganError, printable
from facegan.photos.formats import FORMATS, describe_other_file
from facegan.preprocessing.colour import DamagedProfile, convert_to_srgb, find_profile
from facegan.preprocessing.parameters import Crop, Filter

OPENED = sorted(set(FORMATS.values()) - {"MPO"})  # opened as the JPEG that it begins with
FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Filter)}
MAX_PIXELS = 64_000_000  # decoded in memory; 192 MB in RGB
MAX_JPEG_PIXELS = 250_000_000  # of a JPEG that is downscaled while it is decoded row by row
WHOLE_JPEG_PIXELS = 16_000_000
MAX_SIDE = 65_535  # as in JPEG; resizing a longer side needs gigabytes for the filter's coefficients
MIN_SIDE = 8  # of the crop
MAX_SCANS = 500  # of a progressive JPEG; encoders write about ten, and each takes as long as decoding a baseline JPEG
OVERSAMPLING = 2  # minimum ratio of decoded to resulting pixels, in each direction, of a downscaled JPEG
SHRINKS = (8, 4, 2, 1)  # divisors of height and width that libjpeg supports
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
QUARTERS = (Transpose.ROTATE_90, Transpose.ROTATE_180, Transpose.ROTATE_270)  # 1 to 3 quarter turns, counterclockwise
TOO_LITTLE_MEMORY = "too little memory to decode it"
MISSING_PART = "damaged: a part of the image is missing"
END_BYTES = 1024  # of an HEIF, AVIF or WebP file, whose compressed data never end in so many zeros; decoders fill in the rest
EXTRA_BYTES = bytes(range(1, 255))  # without markers
SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # a JPEG marker with a length; 0 and RST occur within entropy-coded data

pillow_heif.register_heif_opener()
Image.MAX_IMAGE_PIXELS = MAX_JPEG_PIXELS  # Pillow's own limit warns at 89 megapixels and fails at 179
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 64 * 1024**2  # photo editors write megabytes of text and profiles


class UnreadablePicture(Exception):
    """The file is not an image, or damaged. The message is the reason."""


class Photo:
    """An image file whose header was checked. ``decode`` decodes the pixels.

    Attributes:
        size: width and height of the upright image, in pixels.
        has_damaged_profile: whether ``to_srgb`` could not use the colour profile.

    Raises:
        UnreadablePicture: the file is empty or incomplete, its format is not supported, or it has too many pixels.
    """

    def __init__(self, content: bytes):
        if not content.strip(b"\0"):
            raise UnreadablePicture("only zero bytes: an incomplete copy, or a placeholder" if content else "an empty file")
        if other := describe_other_file(content):
            raise UnreadablePicture(other[0])
        if content[4:8] == b"ftyp" and is_truncated(content):
            raise UnreadablePicture("a truncated file")
        if (content[4:8] == b"ftyp" or content[:4] == b"RIFF") and not content[-END_BYTES:].strip(b"\0"):
            raise UnreadablePicture("ends in zero bytes: an incomplete copy")
        self.content = content
        with explain_unreadable():
            self.image = Image.open(io.BytesIO(content), formats=OPENED)
            self.is_jpeg = self.image.format in ("JPEG", "MPO")
            check_pixels(self.image, self.is_jpeg)
            if self.image.info.get("progressive") and has_too_many_scans(content):
                raise UnreadablePicture(f"more than {MAX_SCANS} scans in a progressive JPEG")
            self.orientation = read_orientation(self.image)
        width, height = self.image.size
        self.size = (height, width) if self.orientation in SIDEWAYS else (width, height)
        self.profile, self.is_cmyk, self.has_damaged_profile = find_profile(self.image), self.image.mode == "CMYK", False
        self.was_decoded = False
        self.quarters = 0

    def turn(self, quarters: int) -> None:
        """Turns the image by 1 to 3 quarters counterclockwise, in addition to the orientation in its metadata."""
        self.quarters = quarters
        if quarters % 2:
            self.size = self.size[::-1]

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """Returns a part of the decoded image, at any size, in sRGB. A damaged profile is ignored."""
        if self.profile is None or (image.mode == "CMYK") != self.is_cmyk:
            return image
        try:
            return convert_to_srgb(image, self.profile, self.is_cmyk)
        except DamagedProfile:
            self.has_damaged_profile = True
            return image

    def choose_shrink(self, spare: float) -> int:
        """Returns the divisor of height and width to use in ``decode``: 8, 4, 2 or 1; always 1 if the file is not a JPEG.

        Args:
            spare: the largest acceptable divisor. The result is larger if the image would otherwise exceed MAX_PIXELS.
        """
        if not self.is_jpeg:
            return 1
        width, height = self.size
        acceptable = next(shrink for shrink in SHRINKS if shrink <= max(1, spare))
        return max(acceptable, min(shrink for shrink in SHRINKS if width * height <= MAX_PIXELS * shrink**2))

    def decode(self, shrink: int = 1) -> Image.Image:
        """Returns the upright RGB image, except for ``to_srgb``; a JPEG at 1/``shrink`` of its height and width.

        Raises:
            UnreadablePicture: the file is damaged, or has more than MAX_PIXELS.
        """
        with explain_unreadable():
            image: Image.Image = Image.open(io.BytesIO(self.content), formats=OPENED) if self.was_decoded else self.image
            self.was_decoded = True
            if shrink > 1:
                image.draft(None, (image.width // shrink, image.height // shrink))
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePicture(f"{image.width * image.height:,} pixels to decode; at most {MAX_PIXELS:,}")
            image.load()
            if "tiling" in image.info and image.mode == "RGB" and has_missing_tile(image):
                raise UnreadablePicture(MISSING_PART)
            if self.is_jpeg and self.lacks_end(image):
                raise UnreadablePicture(MISSING_PART)
            if self.orientation in TURNS:
                image = image.transpose(TURNS[self.orientation])
            if self.quarters:
                image = image.transpose(QUARTERS[self.quarters - 1])
            return convert_to_rgb(self.to_srgb(image) if self.is_cmyk else image)

    def lacks_end(self, image: Image.Image) -> bool:
        """Returns whether the compressed data of a decoded JPEG end too early, although an end marker follows.

        libjpeg fills the rest with grey. With such a corner, bytes are inserted at the end: a decoder that has all blocks ignores them.
        """
        if set(np.ravel(np.asarray(image.getpixel((image.width - 1, image.height - 1))))) != {128}:
            return False
        end = self.content.rfind(b"\xff\xd9")
        longer = Image.open(io.BytesIO(self.content[:end] + EXTRA_BYTES + self.content[end:]), formats=OPENED)
        longer.draft(None, image.size)
        return longer.size == image.size and longer.tobytes() != image.tobytes()


@contextlib.contextmanager
def explain_unreadable() -> Iterator[None]:
    """Converts all exceptions except FaceganError to UnreadablePicture."""
    try:
        yield
    except (UnreadablePicture, FaceganError):
        raise
    except UnidentifiedImageError:
        raise UnreadablePicture("not an image in a supported format") from None
    except MemoryError:
        raise UnreadablePicture(TOO_LITTLE_MEMORY) from None
    except Exception as error:  # Pillow's decoders raise many kinds
        raise UnreadablePicture(f"{type(error).__name__}: {printable(str(error))}") from error


def check_pixels(image: Image.Image, is_jpeg: bool) -> None:
    """Raises UnreadablePicture if the header states too many pixels, or too long a side."""
    if max(image.size) > MAX_SIDE:
        raise UnreadablePicture(f"{image.width:,} × {image.height:,} pixels; at most {MAX_SIDE:,} on a side")
    by_rows = is_jpeg and not image.info.get("progressive")  # libjpeg keeps all coefficients of a progressive JPEG in memory
    limit = MAX_JPEG_PIXELS if by_rows else MAX_PIXELS
    if image.width * image.height > limit:
        raise UnreadablePicture(f"{image.width:,} × {image.height:,} pixels; at most {limit:,} in a {image.format} file")


def has_too_many_scans(jpeg: bytes) -> bool:
    """Returns whether a JPEG has more than MAX_SCANS scans. Stops at its end: a video, or another image, may follow."""
    place, scans = 2, 0
    while scans <= MAX_SCANS and (marker := SEGMENT.search(jpeg, place)) and marker[1] != b"\xd9":
        scans += marker[1] == b"\xda"
        place = marker.end() + int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
    return scans > MAX_SCANS


def is_truncated(content: bytes) -> bool:
    """Returns whether the boxes of an ISO media file (ISO 14496-12, 4.2; HEIF, AVIF) exceed it. libheif paints missing tiles green."""
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:  # a 64-bit size follows
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        if size < 8:  # 0: the last box, up to the end of the file
            return size != 0
        place += size
    return place > len(content)


def has_missing_tile(image: Image.Image) -> bool:
    """Returns whether a tile of an RGB image from an HEIF grid is missing.

    libheif leaves such a tile at 0 in Y, Cb and Cr: a uniform green without red and blue. The image may be rotated and cropped, so that the
    edges of the tiles are unknown; cells of a quarter of a tile are within one.
    """
    step = max(1, min(image.info["tiling"]["tile_width"], image.info["tiling"]["tile_height"]) // 4)
    for top in range(0, image.height - step + 1, step):
        for left in range(0, image.width - step + 1, step):
            corner = cast(tuple[int, int, int], image.getpixel((left, top)))
            if corner[0] == corner[2] == 0 < corner[1]:  # a faster check than of all pixels
                cell = image.crop((left, top, left + step, top + step))
                if cell.getextrema() == tuple((value, value) for value in corner):
                    return True
    return False


def read_orientation(image: Image.Image) -> int:
    """Returns the EXIF orientation, 1 to 8, or 1 if it is missing or invalid. Invalid metadata does not make a photo unreadable."""
    if image.format == "TIFF":
        return 1  # Pillow rotates these itself
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # invalid metadata raises many kinds
        return 1
    return orientation if orientation in TURNS else 1


def read_image(name: str, content: bytes | Photo, resolution: int, crop: Crop, filter: Filter) -> np.ndarray:
    """Returns the image as uint8 RGB (3, resolution, resolution).

    Args:
        name: the image's name, for the error message.
        content: the image file, or its bytes.
        resolution: height and width of the result, in pixels.
        crop: "none" uses the full image, stretched to a square; "square" the largest centred square; (left, top, right, bottom) a box in
            pixels of the upright image.
        filter: resampling filter, antialiased.

    Raises:
        UnreadablePicture: the file is not an image, damaged, or has too few pixels.
        FaceganError: the crop box exceeds the image.
    """
    photo = content if isinstance(content, Photo) else Photo(content)
    box = choose_box(name, photo.size, crop)
    if min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE:
        raise UnreadablePicture(f"too few pixels: {box[2] - box[0]:,} × {box[3] - box[1]:,}; at least {MIN_SIDE} on a side")
    shrink = 1
    if photo.size[0] * photo.size[1] > WHOLE_JPEG_PIXELS:
        shrink = photo.choose_shrink(min(box[2] - box[0], box[3] - box[1]) / (OVERSAMPLING * resolution))
    image = photo.decode(shrink)
    left, top, right, bottom = (round(edge / shrink) for edge in box)
    return to_array(photo.to_srgb(image.crop((left, top, right, bottom)).resize((resolution, resolution), FILTERS[filter])))


def to_array(image: Image.Image) -> np.ndarray:
    """Returns an RGB image as uint8 (3, H, W)."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def convert_to_rgb(image: Image.Image) -> Image.Image:
    """Returns the image in RGB with 8 bits per channel.

    Transparent areas become white. Of 16 bits the high 8 are kept, as Pillow does with 16-bit colour; it would clip 16-bit grey. CMYK
    without a profile is converted by Pillow.
    """
    if image.mode.startswith("I"):
        return Image.fromarray(take_high_byte(np.asarray(image))).convert("RGB")
    if image.mode == "F":
        raise UnreadablePicture("floating-point pixels, whose white level is undefined")
    if image.has_transparency_data:
        return lay_on_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")  # convert always copies


def lay_on_white(image: Image.Image) -> Image.Image:
    """Returns an image with transparency as RGB on white. Works in strips, to avoid four full-size copies in memory."""
    result = Image.new("RGB", image.size)
    for top in range(0, image.height, STRIP_ROWS):
        strip = image.crop((0, top, image.width, min(top + STRIP_ROWS, image.height))).convert("RGBA")
        result.paste(Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip).convert("RGB"), (0, top))
    return result


def take_high_byte(values: np.ndarray) -> np.ndarray:
    """Returns 16-bit grey values (H, W) in 0 to 65,535 as uint8. Raises UnreadablePicture for other values."""
    if values.min() < 0 or values.max() > 65535:
        raise UnreadablePicture("grey values of more than 16 bits, whose white level is undefined")
    return (values >> 8).astype(np.uint8)


def choose_box(name: str, size: tuple[int, int], crop: Crop) -> tuple[int, int, int, int]:
    """Returns left, top, right and bottom of the crop in an image of ``size`` (width, height), in pixels.

    Raises:
        FaceganError: the box exceeds the image.
    """
    width, height = size
    if crop == "none":
        return 0, 0, width, height
    if crop == "square":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side
    left, top, right, bottom = cast(tuple[int, int, int, int], crop)
    if right > width or bottom > height:
        problem = f"expected photos that contain the crop box {list(crop)}; found {printable(name)} of {width}×{height}"
        raise FaceganError(f"{problem}; change preprocess.crop")
    return left, top, right, bottom
