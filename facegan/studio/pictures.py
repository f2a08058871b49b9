"""Pictures for the page and its downloads, in memory: PNG, zip, WebP, GIF."""

import base64
import io
import math
import zipfile
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from facegan.common.pictures import make_grid
from facegan.sampling.faces import enlarge

SAVED_FACE_PIXELS, SAVED_GRID_FACE_PIXELS, ANIMATION_PIXELS = 128, 64, 256  # minimum sizes
FRAME_MILLISECONDS = 60
WEBP_QUALITY = 85


def write_png(picture: np.ndarray) -> bytes:
    """Returns a picture (H, W, 3) as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)  # five times as fast as the default, 10% larger
    return file.getvalue()


def as_uri(content: bytes, media_type: str = "image/png") -> str:
    """Returns a file as a data: URI, which the page shows without another request."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def write_faces(faces: Tensor, names: list[str]) -> bytes:
    """Returns a zip archive of faces (N, 3, H, W) in uint8, one PNG each."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for face, name in zip(faces, names, strict=True):
            archive.writestr(f"{name}.png", write_face(face))
    return file.getvalue()


def write_face(face: Tensor) -> bytes:
    """Returns one face (3, H, W) in uint8 as a PNG file, enlarged by an integer factor."""
    return write_png(enlarge(make_grid(face[None], 1), face.shape[-1], SAVED_FACE_PIXELS))


def write_grid(faces: Tensor) -> bytes:
    """Returns faces (N, 3, H, W) in uint8 as one PNG file, enlarged by an integer factor; see ``choose_columns``."""
    return write_png(enlarge(make_grid(faces, choose_columns(len(faces))), faces.shape[-1], SAVED_GRID_FACE_PIXELS))


def choose_columns(count: int) -> int:
    """Returns the number of columns of a grid: up to eight, or a square grid of many faces."""
    return min(count, max(8, math.ceil(math.sqrt(count))))


def write_animation(frames: Tensor, kind: str) -> bytes:
    """Returns a looping animation of frames (N, 3, H, W) in uint8, enlarged by an integer factor.

    Args:
        kind: "webp" or "gif".
    """
    pictures = [Image.fromarray(enlarge(frame.permute(1, 2, 0).numpy(), frame.shape[-1], ANIMATION_PIXELS)) for frame in frames.cpu()]
    options: dict[str, Any] = {"quality": WEBP_QUALITY, "method": 0} if kind == "webp" else {}
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=FRAME_MILLISECONDS, loop=0, **options)
    return file.getvalue()
