"""Drawn heads that the face detector finds, with known positions of eyes and mouth."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

UNIT = 200  # side of the drawing, in its own units
EYES = (80 + 88j, 120 + 88j)  # left and right in the image
MOUTH = 100 + 128j  # the middle
SKINS = [(224, 178, 150), (198, 140, 108), (141, 92, 66), (241, 203, 180)]
HAIRS = [(50, 35, 25), (20, 18, 18), (150, 110, 60), (110, 60, 35)]


def draw_head(seed: int = 0, scale: float = 3.0) -> Image.Image:
    """Returns a head on a transparent background: RGBA, UNIT · scale pixels wide and high."""
    random = np.random.default_rng(seed)
    skin, hair = np.array(SKINS[seed % 4]), HAIRS[random.integers(4)]
    layer = Image.new("RGBA", (round(UNIT * scale), round(UNIT * scale)), (*skin, 0))
    draw = ImageDraw.Draw(layer)

    def ellipse(x: float, y: float, width: float, height: float, color: tuple) -> None:
        draw.ellipse(
            [scale * (x - width / 2), scale * (y - height / 2), scale * (x + width / 2), scale * (y + height / 2)],
            fill=tuple(map(int, color)),
        )

    def shade(factor: float) -> tuple:
        return (*np.clip(skin * factor, 0, 255), 255)

    ellipse(100, 84, 112, 136, (*hair, 255))
    draw.rectangle([scale * 80, scale * 140, scale * 120, scale * 195], fill=tuple(map(int, shade(0.82))))
    for x in (54, 146):
        ellipse(x, 98, 12, 26, shade(0.88))
    ellipse(100, 98, 92, 122, shade(1.0))
    ellipse(100, 62, 80, 36, shade(1.04))
    for side, eye in zip((-1, 1), EYES, strict=True):
        ellipse(eye.real, eye.imag + 1, 25, 16, shade(0.84))  # the socket
        ellipse(eye.real, eye.imag, 18, 9, (246, 243, 240, 255))
        ellipse(eye.real, eye.imag, 8.5, 8.5, (80, 55, 40, 255))
        ellipse(eye.real, eye.imag, 4, 4, (10, 10, 10, 255))
        lid = [scale * (eye.real - 10), scale * (eye.imag - 7), scale * (eye.real + 10), scale * (eye.imag + 8)]
        draw.arc(lid, 190, 350, fill=(50, 30, 25), width=round(1.6 * scale))
        brow = ((eye.real - side * 10, 76), (eye.real, 73), (eye.real + side * 14, 77))
        draw.line([(scale * x, scale * y) for x, y in brow], fill=hair, width=round(3.6 * scale), joint="curve")
        ellipse(eye.real + side * 4, 112, 22, 16, (*np.clip(skin * (1.03, 0.93, 0.92), 0, 255), 255))  # the cheek
    ellipse(105, 103, 10, 26, shade(0.9))
    ellipse(100, 110, 17, 10, shade(0.94))
    for x in (94.5, 105.5):
        ellipse(x, 113, 4.5, 3, shade(0.45))
    ellipse(100, 119, 6, 4, shade(0.88))
    ellipse(MOUTH.real, MOUTH.imag, 34, 11, (178, 78, 78, 255))
    ellipse(MOUTH.real, MOUTH.imag - 0.5, 26, 3.2, (90, 30, 32, 255))
    ellipse(100, 141, 20, 6, shade(0.9))
    fringe = ((48, 88), (54, 50), (80, 34), (120, 34), (146, 50), (152, 88), (143, 66), (120, 54), (80, 54), (57, 66))
    draw.polygon([(scale * x, scale * y) for x, y in fringe], fill=(*hair, 255))
    light = np.linspace(1.08, 0.86, layer.width)[None, :, None]
    pixels = np.asarray(layer.filter(ImageFilter.GaussianBlur(0.9 * scale)), np.float32)
    pixels[..., :3] = (pixels[..., :3] * light + random.normal(0, 2, (*pixels.shape[:2], 1))).clip(0, 255)
    return Image.fromarray(pixels.astype(np.uint8), "RGBA")


def draw_photo(size: tuple[int, int], heads: list[tuple[complex, float, float]], seed: int = 0) -> tuple[Image.Image, list[np.ndarray]]:
    """Returns a photo of drawn heads on a blurred background.

    Args:
        size: width and height in pixels.
        heads: for each head the point between the eyes, the eyes' distance (both in pixels) and the roll (clockwise, in degrees).

    Returns:
        The photo, and for each head complex (3,): left eye, right eye, middle of the mouth.
    """
    random = np.random.default_rng(seed)
    ground = Image.fromarray(random.integers(60, 200, (5, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    places = []
    for number, (middle, distance, roll) in enumerate(heads):
        drawing = draw_head(seed + number)
        scale = UNIT / drawing.width * distance / (EYES[1] - EYES[0]).real
        turn = scale * np.exp(1j * np.radians(roll))  # the drawing's pixels to the photo's
        origin = middle - turn * (sum(EYES) / 2) * drawing.width / UNIT
        back = 1 / turn
        offset = -origin * back
        # 2× supersampling
        affine = (back.real / 2, -back.imag / 2, offset.real, back.imag / 2, back.real / 2, offset.imag)
        turned = drawing.transform((2 * size[0], 2 * size[1]), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC).resize(
            size, Image.Resampling.BOX
        )
        ground.paste(turned.convert("RGB"), mask=turned.getchannel("A"))
        places.append(origin + turn * np.array([*EYES, MOUTH]) * drawing.width / UNIT)
    return ground, places


def encode(image: Image.Image, format: str = "JPEG", **options) -> bytes:
    """Returns an encoded image file."""
    file = io.BytesIO()
    image.save(file, format, **({"quality": 92} if format == "JPEG" else {}) | options)
    return file.getvalue()
