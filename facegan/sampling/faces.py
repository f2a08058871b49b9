"""Single faces, and a grid of them.

In: a generator. Out: PNG files, the same bytes for the same seed on the same machine. A face has a number below its seed, and
seed and number give it back at any time: its batch is always the same, whatever else is drawn. Small faces are enlarged by whole
factors, pixel by pixel: nothing is invented.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.pictures import make_grid, save_png
from facegan.common.progress import Progress
from facegan.models.latents import draw_latents, generate_images, truncate
from facegan.sampling.parameters import SampleParameters

FACES_AT_ONCE = 16  # fixed: another number could round another way, and torch draws normal numbers in blocks of 16
GRID_COLUMNS, GRID_FACES = 8, 64
GRID_FACE_PIXELS, SINGLE_FACE_PIXELS = 64, 128  # at least
HIGHEST_NUMBER = 999_999
NO_ORIGIN: Mapping[str, str] = MappingProxyType({})
FACE_FILE = re.compile(r"seed\d+_face\d{4,}\.png")


def draw_faces(
    generator: nn.Module, parameters: SampleParameters, out: Path, pixels: int = SINGLE_FACE_PIXELS, origin: Mapping[str, str] = NO_ORIGIN
) -> None:
    """Writes ``count`` faces as faces/seed…_face….png, and grid.png with the same faces and as many more as fill it.

    Faces of an earlier call go first.

    Args:
        pixels: single faces are enlarged to at least this; 1 leaves them at the network's own size.
        origin: what every face's file says about the generator.
    """
    for earlier in (out / "faces").glob("*.png"):
        if FACE_FILE.fullmatch(earlier.name):
            earlier.unlink()
    grid = []
    for number, face in generate_numbered(generator, parameters, range(max(parameters.count, GRID_FACES))):
        if number < parameters.count:
            save_face(out / "faces", face, number, parameters, pixels, origin)
        if number < GRID_FACES:
            grid.append(face)
    save_png(out / "grid.png", enlarge(make_grid(torch.stack(grid), GRID_COLUMNS), grid[0].shape[-1], GRID_FACE_PIXELS))


def draw_chosen(
    generator: nn.Module,
    parameters: SampleParameters,
    numbers: Sequence[int],
    out: Path,
    pixels: int = SINGLE_FACE_PIXELS,
    origin: Mapping[str, str] = NO_ORIGIN,
) -> list[Path]:
    """Writes the faces of these numbers into the folder, beside what lies there, and returns their files."""
    return [save_face(out, face, number, parameters, pixels, origin) for number, face in generate_numbered(generator, parameters, numbers)]


def save_face(folder: Path, face: Tensor, number: int, parameters: SampleParameters, pixels: int, origin: Mapping[str, str]) -> Path:
    """Writes one face (3, H, W); its name, and its text for those who rename it, say how to draw it again."""
    path = folder / f"seed{parameters.seed}_face{number:04d}.png"
    text = {"face": f"{parameters.seed}-{number}-{parameters.truncation:g}", **origin}  # seed, number, truncation
    save_png(path, enlarge(make_grid(face[None], 1), face.shape[-1], pixels), text)
    return path


def generate_numbered(
    generator: nn.Module, parameters: SampleParameters, numbers: Sequence[int], quiet: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Yields number and face (3, H, W) in uint8 for each of the numbers, in ascending order and each once.

    Args:
        quiet: tell nothing of the progress.

    Raises:
        FaceganError: a number that no face has.
    """
    check_numbers(numbers)
    wanted = set(numbers)
    with Progress("faces", len(wanted), "faces", quiet=quiet) as progress:
        for first, latents in draw_batches(generator, parameters.seed, max(wanted, default=-1) + 1):
            here = [number for number in range(first, first + FACES_AT_ONCE) if number in wanted]
            if here:
                faces = generate_images(generator, truncate(generator, latents, parameters.truncation)).cpu()  # (B, 3, H, W)
                progress.add(len(here))
                yield from ((number, faces[number - first]) for number in here)


def check_numbers(numbers: Sequence[int]) -> None:
    """Raises FaceganError unless a seed has faces of these numbers."""
    wrong = sorted(number for number in numbers if not 0 <= number <= HIGHEST_NUMBER)
    if wrong:
        raise FaceganError(f"expected numbers of faces from 0 to {HIGHEST_NUMBER:,}; found {wrong[0]:,}; the first face of a seed is 0")


def draw_batches(generator: nn.Module, seed: int, count: int) -> Iterator[tuple[int, Tensor]]:
    """Yields the number of the first and the latents (B, latent_size) of whole batches that hold a seed's first ``count`` faces.

    They are those of ``facegan.models.latents.seeded_latents``, without all of them in memory.
    """
    random = torch.Generator().manual_seed(seed)
    for first in range(0, count, FACES_AT_ONCE):
        yield first, draw_latents(generator, FACES_AT_ONCE, random)


def generate(generator: nn.Module, latents: Tensor, title: str) -> Iterator[Tensor]:
    """Yields one face (3, H, W) in uint8 for each of the latents (N, latent_size), on the CPU."""
    with Progress(title, len(latents), "faces") as progress:
        for batch in latents.split(FACES_AT_ONCE):
            faces = generate_images(generator, batch).cpu()  # (B, 3, H, W)
            progress.add(len(faces))
            yield from faces


def enlarge(picture: np.ndarray, side: int, least: int) -> np.ndarray:
    """Returns the picture (H, W, 3) with every pixel repeated so often that ``side`` pixels become ``least`` or more."""
    times = math.ceil(least / side)
    return picture.repeat(times, axis=0).repeat(times, axis=1)
