"""Tensors to pictures: rounding to bytes, grids, PNG files."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facegan.common.files import replace_file
from facegan.common.marks import Mark, save_marked


def to_bytes(images: Tensor) -> Tensor:
    """Returns images in [-1, 1] as uint8: -1 is 0, 1 is 255, other values are rounded, and clipped to this range."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def from_bytes(images: Tensor) -> Tensor:
    """Returns uint8 images as float32 in [-1, 1]; the inverse of ``to_bytes``."""
    return images.float() / 127.5 - 1


def make_grid(images: Tensor, columns: int) -> np.ndarray:
    """Returns uint8 images (N, 3, H, W) as a grid (rows·H, columns·W, 3); empty cells of the last row are white."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    cells = torch.full((rows * columns, channels, height, width), 255, dtype=torch.uint8)
    cells[:count] = images.cpu()
    cells = cells.reshape(rows, columns, channels, height, width)
    return cells.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels).numpy()


def save_png(path: Path, picture: np.ndarray, mark: Mark | None = None) -> None:
    """Writes a picture (H, W, 3) in uint8 atomically.

    Args:
        mark: of generated pictures; None: real photos only.
    """
    from PIL import Image

    with replace_file(path, durable=False) as file:
        save_marked(file, Image.fromarray(picture), "PNG", mark)
