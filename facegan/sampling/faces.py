"""Single faces, and a grid of them.

In: a generator. Out: PNG files, the same bytes for the same seed on the same machine. Small faces are enlarged by whole factors,
pixel by pixel: nothing is invented.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.pictures import make_grid, save_png, to_bytes
from facegan.common.progress import Progress
from facegan.models.latents import seeded_latents, truncate
from facegan.sampling.parameters import SampleParameters

FACES_AT_ONCE = 16  # fixed: another number could round another way
GRID_COLUMNS, GRID_FACES = 8, 64
GRID_FACE_PIXELS, SINGLE_FACE_PIXELS = 64, 128  # at least


def draw_faces(generator: nn.Module, parameters: SampleParameters, out: Path) -> None:
    """Writes ``count`` faces as faces/NUMBER.png, and grid.png with the same faces and as many more as fill it.

    Numbered faces of an earlier call go first.
    """
    for earlier in (out / "faces").glob("[0-9][0-9][0-9][0-9].png"):
        earlier.unlink()
    latents = truncate(generator, seeded_latents(generator, max(parameters.count, GRID_FACES), parameters.seed), parameters.truncation)
    grid = []
    for number, face in enumerate(generate(generator, latents, "faces")):
        if number < parameters.count:
            save_png(out / "faces" / f"{number:04d}.png", enlarge(make_grid(face[None], 1), face.shape[-1], SINGLE_FACE_PIXELS))
        if number < GRID_FACES:
            grid.append(face)
    save_png(out / "grid.png", enlarge(make_grid(torch.stack(grid), GRID_COLUMNS), grid[0].shape[-1], GRID_FACE_PIXELS))


def generate(generator: nn.Module, latents: Tensor, title: str) -> Iterator[Tensor]:
    """Yields one face (3, H, W) in uint8 for each of the latents (N, latent_size), on the CPU."""
    device = next(generator.parameters()).device
    with Progress(title, len(latents), "faces") as progress, torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        for batch in latents.split(FACES_AT_ONCE):
            with torch.inference_mode():
                faces = to_bytes(generator(batch.to(device))).cpu()  # (B, 3, H, W)
            progress.add(len(faces))
            yield from faces


def enlarge(picture: np.ndarray, side: int, least: int) -> np.ndarray:
    """Returns the picture (H, W, 3) with every pixel repeated so often that ``side`` pixels become ``least`` or more."""
    times = math.ceil(least / side)
    return picture.repeat(times, axis=0).repeat(times, axis=1)
