"""Pictures for the page and its downloads, in memory: PNG, zip, WebP, GIF."""

import base64
import io
import math
import zipfile
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from facegan.common.marks import Mark, save_marked
from facegan.common.pictures import make_grid
from facegan.sampling.faces import enlarge

SAVED_FACE_PIXELS, ANIMATION_PIXELS = 128, 256  # minimum sizes
FRAME_MILLISECONDS = 60
WEBP_QUALITY = 85


def write_png(picture: np.ndarray, mark: Mark | None) -> bytes:
    """Returns a picture (H, W, 3) as a PNG file; with a mark, unless it shows real photos only."""
    file = io.BytesIO()
    save_marked(file, Image.fromarray(picture), "PNG", mark, compress_level=1)  # five times as fast as the default, 10% larger
    return file.getvalue()


def as_uri(content: bytes, media_type: str = "image/png") -> str:
    """Returns a file as a data: URI, which the page shows without another request."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def write_faces(faces: Tensor, names: list[str], mark: Mark) -> bytes:
    """Returns a zip archive of faces (N, 3, H, W) in uint8, one PNG each; ``mark`` lists them all."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for face, name, text in zip(faces, names, mark.faces, strict=True):
            archive.writestr(f"{name}.png", write_face(face, mark.replace("face", text)))
    return file.getvalue()


def write_face(face: Tensor, mark: Mark) -> bytes:
    """Returns one face (3, H, W) in uint8 as a PNG file, enlarged by an integer factor."""
    return write_png(enlarge(make_grid(face[None], 1), face.shape[-1], SAVED_FACE_PIXELS), mark)


def write_grid(faces: Tensor, mark: Mark) -> bytes:
    """Returns faces (N, 3, H, W) in uint8 as one PNG file, enlarged by an integer factor; see ``choose_columns``."""
    return write_png(enlarge(make_grid(faces, choose_columns(len(faces))), faces.shape[-1], SAVED_FACE_PIXELS), mark)


def choose_columns(count: int) -> int:
    """Returns the number of columns of a grid: up to eight, or a square grid of many faces."""
    return min(count, max(8, math.ceil(math.sqrt(count))))


def write_animation(frames: Tensor, kind: str, mark: Mark) -> bytes:
    """Returns a looping animation of frames (N, 3, H, W) in uint8, enlarged by an integer factor.

    Args:
        kind: "webp" or "gif".
    """
    pictures = [Image.fromarray(enlarge(frame.permute(1, 2, 0).numpy(), frame.shape[-1], ANIMATION_PIXELS)) for frame in frames.cpu()]
    options: dict[str, Any] = {"quality": WEBP_QUALITY, "method": 0} if kind == "webp" else {}
    file = io.BytesIO()
    options |= {"save_all": True, "append_images": pictures[1:], "duration": FRAME_MILLISECONDS, "loop": 0}
    save_marked(file, pictures[0], kind.upper(), mark, **options)
    return file.getvalue()
