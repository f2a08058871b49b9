"""Images in all formats and modes, compared with known pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from facegan.common.errors import FaceganError
from facegan.preprocessing.images import FILTERS, ORIENTATION, Photo, UnreadablePicture, choose_box, read_image

SMALLEST = 28


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(content: bytes, resolution: int = SMALLEST, crop="none", filter: str = "lanczos") -> np.ndarray:
    return read_image("face.png", content, resolution, crop, filter)


def draw_noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)  # (H, W, 3)


def draw_coordinates(height: int, width: int) -> np.ndarray:
    """Returns an image whose red is x and whose green is y."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.arange(width)
    picture[..., 1] = np.arange(height)[:, None]
    return picture  # (H, W, 3)


def solid(mode: str, color) -> Image.Image:
    return Image.new(mode, (40, 30), color)


def palette(transparent: bool) -> tuple[Image.Image, dict]:
    image = Image.new("P", (40, 30), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return image, {"transparency": 1} if transparent else {}


def grey16(value: int) -> Image.Image:
    return Image.fromarray(np.full((30, 40), value, np.uint16))


def pgm16(value: int, white: int) -> bytes:
    return b"P5 8 8 %d\n" % white + np.full((8, 8), value, ">u2").tobytes()


LOSSLESS = {
    "black and white": (encode(solid("1", 1), "PNG"), (255, 255, 255)),
    "grey": (encode(solid("L", 77), "PNG"), (77, 77, 77)),
    "grey, alpha 0": (encode(solid("LA", (77, 0)), "PNG"), (255, 255, 255)),
    "grey, alpha 255": (encode(solid("LA", (77, 255)), "PNG"), (77, 77, 77)),
    "grey PNG with a transparent value": (encode(solid("L", 77), "PNG", transparency=77), (255, 255, 255)),
    "colour": (encode(solid("RGB", (200, 100, 50)), "PNG"), (200, 100, 50)),
    "colour PNG with a transparent colour": (encode(solid("RGB", (200, 100, 50)), "PNG", transparency=(200, 100, 50)), (255, 255, 255)),
    "alpha 0": (encode(solid("RGBA", (200, 100, 50, 0)), "PNG"), (255, 255, 255)),
    "alpha 51, a fifth": (encode(solid("RGBA", (200, 100, 50, 51)), "PNG"), (244, 224, 214)),
    "alpha 255": (encode(solid("RGBA", (200, 100, 50, 255)), "PNG"), (200, 100, 50)),
    "palette": (encode(palette(False)[0], "PNG"), (200, 100, 50)),
    "palette, transparent": (encode(palette(True)[0], "PNG", transparency=1), (255, 255, 255)),
    "GIF": (encode(palette(False)[0], "GIF"), (200, 100, 50)),
    "GIF, transparent": (encode(palette(True)[0], "GIF", transparency=1), (255, 255, 255)),
    "BMP": (encode(solid("RGB", (200, 100, 50)), "BMP"), (200, 100, 50)),
    "TGA": (encode(solid("RGBA", (200, 100, 50, 255)), "TGA"), (200, 100, 50)),
    "WebP": (encode(solid("RGBA", (200, 100, 50, 0)), "WEBP", lossless=True, exact=True), (255, 255, 255)),
    "CMYK TIFF": (encode(solid("CMYK", (255, 0, 0, 0)), "TIFF"), (0, 255, 255)),
    "16-bit grey PNG": (encode(grey16(0x80FF), "PNG"), (128, 128, 128)),
    "16-bit white PNG": (encode(grey16(0xFFFF), "PNG"), (255, 255, 255)),
    "16-bit grey TIFF": (encode(grey16(0x4000), "TIFF"), (64, 64, 64)),
    "16-bit grey PGM": (pgm16(0x4000, 65535), (64, 64, 64)),
    "10-bit white PGM": (pgm16(1023, 1023), (255, 255, 255)),
}
LOSSY = {
    "JPEG": (encode(solid("RGB", (200, 100, 50)), "JPEG"), (200, 100, 50)),
    "grey JPEG": (encode(solid("L", 77), "JPEG"), (77, 77, 77)),
    "CMYK JPEG": (encode(solid("CMYK", (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    "lossy WebP": (encode(solid("RGB", (200, 100, 50)), "WEBP"), (200, 100, 50)),
    "JPEG 2000": (encode(solid("RGB", (200, 100, 50)), "JPEG2000"), (200, 100, 50)),
    "AVIF": (encode(solid("RGB", (200, 100, 50)), "AVIF"), (200, 100, 50)),
}


@pytest.mark.parametrize("kind", LOSSLESS)
def test_mode_is_converted_to_rgb(kind):
    content, color = LOSSLESS[kind]
    image = read(content)
    assert image.dtype == np.uint8 and image.shape == (3, SMALLEST, SMALLEST) and image.flags.c_contiguous
    assert (image == np.array(color)[:, None, None]).all()


@pytest.mark.parametrize("kind", LOSSY)
def test_mode_is_converted_to_rgb_from_lossy_formats(kind):
    content, color = LOSSY[kind]
    assert np.abs(read(content).astype(int) - np.array(color)[:, None, None]).max() <= 4


def test_16_bit_grey_is_scaled():
    steps = np.arange(SMALLEST, dtype=np.uint16) * 2000
    stored = np.broadcast_to(steps, (SMALLEST, SMALLEST))
    assert (read(encode(Image.fromarray(stored.copy()), "PNG"))[0] == steps // 256).all()


STORED = {  # how a camera in this orientation stores the upright image
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_applied(orientation, format):
    upright = draw_noise(20, 30)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    content = encode(stored, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    assert (np.asarray(Photo(content).decode()) == upright).all()


def test_orientation_of_jpeg_and_16_bit_images():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    left_black = Image.fromarray(np.repeat([[0, 255]], 8, axis=0).repeat(8, axis=1).astype(np.uint8))
    top_black = np.asarray(Photo(encode(left_black, "JPEG", exif=exif)).decode())
    assert top_black.shape == (16, 8, 3) and top_black[:8].max() < 20 and top_black[8:].min() > 235
    ramp = np.arange(12, dtype=np.uint16).reshape(3, 4) * 256
    turned = np.asarray(Photo(encode(Image.fromarray(ramp), "PNG", exif=exif)).decode())
    assert (turned[..., 0] == np.rot90(np.arange(12).reshape(3, 4), -1)).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_invalid_exif_is_ignored():
    content = encode(Image.fromarray(draw_noise(28, 28)), "JPEG", exif=b"Exif\0\0nonsense")
    assert read(content).shape == (3, 28, 28)


def test_crop_selects_the_stated_pixels():
    content = encode(Image.fromarray(draw_coordinates(50, 41)), "PNG")
    red, green, blue = read(content, crop=(3, 5, 31, 33))
    assert (red == np.arange(3, 31)).all() and (green == np.arange(5, 33)[:, None]).all() and (blue == 0).all()
    red, green, _ = read(content, resolution=41, crop="square")
    assert (red == np.arange(41)).all() and (green == np.arange(4, 45)[:, None]).all()
    red, green, _ = read(content, resolution=41, crop=(0, 9, 41, 50))  # includes the last row and column
    assert red[0, -1] == 40 and green[-1, 0] == 49


def test_crop_none_stretches_the_full_image():
    halves = np.zeros((28, 112, 3), np.uint8)
    halves[:, 56:] = 255
    image = read(encode(Image.fromarray(halves), "PNG"), filter="box")
    assert (image[:, :, :14] == 0).all() and (image[:, :, 14:] == 255).all()


def test_crop_applies_to_the_upright_image():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    upright = draw_coordinates(60, 30)
    content = encode(Image.fromarray(np.ascontiguousarray(np.rot90(upright, 1))), "PNG", exif=exif)
    assert read(content, crop=(2, 32, 30, 60))[1, 0, 0] == 32


def test_pixels_outside_the_crop_have_no_effect():
    inside, outside = draw_noise(60, 60), draw_noise(60, 60, seed=1)
    outside[10:50, 10:50] = inside[10:50, 10:50]
    pictures = [read(encode(Image.fromarray(picture), "PNG"), crop=(10, 10, 50, 50)) for picture in (inside, outside)]
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize("box", [(0, 0, 179, 218), (0, 0, 178, 219), (100, 100, 300, 300)])
def test_crop_box_that_exceeds_the_image_is_reported(box):
    content = encode(Image.new("RGB", (178, 218)), "PNG")
    with pytest.raises(FaceganError, match=r"crop box .* found faces/anna\.jpg of 178×218; change preprocess\.crop"):
        read_image("faces/anna.jpg", content, 64, box, "lanczos")
    assert choose_box("x", (178, 218), (0, 0, 178, 218)) == (0, 0, 178, 218)


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("resolution", [28, 100, 512])
def test_uniform_image_stays_uniform(filter, resolution):
    image = read(encode(solid("RGB", (200, 100, 50)), "PNG"), resolution, filter=filter)
    assert image.shape == (3, resolution, resolution)
    assert (image == np.array([200, 100, 50])[:, None, None]).all()


def test_box_filter_averages():
    picture = draw_noise(56, 56)
    means = picture.reshape(28, 2, 28, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(read(encode(Image.fromarray(picture), "PNG"), filter="box") - means).max() <= 1


@pytest.mark.parametrize("filter", FILTERS)
def test_downscaling_is_antialiased(filter):
    checkers = np.indices((112, 112)).sum(0) % 2 * 255
    image = read(encode(Image.fromarray(checkers.astype(np.uint8)), "PNG"), filter=filter)
    assert np.abs(image[:, 3:-3, 3:-3] - 127.5).max() < 3


@pytest.mark.parametrize("filter", FILTERS)
def test_resizing_commutes_with_mirroring_and_transposing(filter):
    picture = 64 + draw_noise(96, 96) // 2  # so that overshoot of the filter is not clipped
    image = read(encode(Image.fromarray(picture), "PNG"), 32, filter=filter).astype(int)
    mirrored = read(encode(Image.fromarray(picture[:, ::-1].copy()), "PNG"), 32, filter=filter)
    transposed = read(encode(Image.fromarray(picture.transpose(1, 0, 2).copy()), "PNG"), 32, filter=filter)
    assert np.abs(mirrored[:, :, ::-1] - image).max() <= 1
    assert np.abs(transposed.transpose(0, 2, 1) - image).max() <= 1


def test_image_of_the_right_size_is_unchanged():
    picture = draw_noise(64, 64)
    for filter in FILTERS:
        assert (read(encode(Image.fromarray(picture), "PNG"), 64, filter=filter) == picture.transpose(2, 0, 1)).all()


def test_jpeg_is_decoded_at_full_size():
    content = encode(Image.fromarray(draw_noise(512, 512)), "JPEG")
    expected = np.asarray(Image.open(io.BytesIO(content)).resize((32, 32), Image.Resampling.LANCZOS))
    assert (read(content, 32) == expected.transpose(2, 0, 1)).all()


def test_first_frame_of_an_animation_is_used():
    frames = [solid("RGB", color) for color in ((255, 0, 0), (0, 255, 0))]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read(content)[:, 0, 0] == (255, 0, 0)).all()


UNREADABLE = {
    "a text": b"this is not an image",
    "floating point": encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"),
    "32 bits": encode(Image.fromarray(np.full((8, 8), 1_000_000, np.int32)), "TIFF"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_file_is_reported(kind):
    with pytest.raises(UnreadablePicture, match=r"not an image in a supported format|white level is undefined"):
        read(UNREADABLE[kind])


@pytest.mark.filterwarnings("ignore:::PIL")
@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_truncated_image_is_unreadable(format):
    content = encode(Image.fromarray(draw_noise(40, 40)), format)
    for share in (0.02, 0.3, 0.7):
        with pytest.raises(UnreadablePicture) as caught:
            read(content[: int(len(content) * share)])
        assert " at 0x" not in str(caught.value)  # the reason must not differ between runs
