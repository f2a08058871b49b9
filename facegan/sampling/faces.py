"""Single faces, and a grid of them.

Input: a generator. Output: PNG files, byte-identical for the same seed on the same machine. A face is identified by its seed and its
number: its batch is always the same, whatever else is drawn. Small faces are enlarged by an integer factor, by repeating pixels.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.common.marks import Mark
from facegan.common.pictures import make_grid, save_png
from facegan.common.progress import Progress
from facegan.models.latents import ANY_LABEL, Given, draw_batches, generate_images, truncate
from facegan.models.network import GeneratorNetwork
from facegan.sampling.codes import FACES_AT_ONCE
from facegan.sampling.parameters import SampleParameters

GRID_COLUMNS, GRID_FACES = 8, 64
GRID_FACE_PIXELS, SINGLE_FACE_PIXELS = 64, 128  # minimum sizes
HIGHEST_NUMBER = 999_999
UNKNOWN = Mark()  # generated, by a generator without a file
FACE_FILE = re.compile(r"seed\d+_face\d{4,}\.png")


def draw_faces(
    generator: GeneratorNetwork,
    parameters: SampleParameters,
    out: Path,
    pixels: int = SINGLE_FACE_PIXELS,
    given: Given = ANY_LABEL,
    mark: Mark = UNKNOWN,
) -> None:
    """Writes the first ``count`` faces as faces/seed…_face….png, and the first 64 as grid.png. Removes the faces of earlier calls.

    Args:
        pixels: the minimum size of single faces, reached by repeating pixels; 1 keeps the network's resolution.
        given: positions of label values by column.
        mark: the generator's, with these labels.
    """
    for earlier in (out / "faces").glob("*.png"):
        if FACE_FILE.fullmatch(earlier.name):
            earlier.unlink()
    grid = []
    for number, face in generate_numbered(generator, parameters, range(max(parameters.count, GRID_FACES)), given):
        if number < parameters.count:
            save_face(out / "faces", face, number, parameters, pixels, mark)
        if number < GRID_FACES:
            grid.append(face)
    names = [name_face(parameters, number) for number in range(GRID_FACES)]
    picture = enlarge(make_grid(torch.stack(grid), GRID_COLUMNS), grid[0].shape[-1], GRID_FACE_PIXELS)
    save_png(out / "grid.png", picture, mark.replace("grid", *names))


def draw_chosen(
    generator: GeneratorNetwork,
    parameters: SampleParameters,
    numbers: Sequence[int],
    out: Path,
    pixels: int = SINGLE_FACE_PIXELS,
    given: Given = ANY_LABEL,
    mark: Mark = UNKNOWN,
) -> list[Path]:
    """Writes the faces with these numbers into a folder, keeps its other files, and returns the paths."""
    faces = generate_numbered(generator, parameters, numbers, given)
    return [save_face(out, face, number, parameters, pixels, mark) for number, face in faces]


def save_face(folder: Path, face: Tensor, number: int, parameters: SampleParameters, pixels: int, mark: Mark) -> Path:
    """Writes one face (3, H, W). Its file name, and its mark in case of renaming, contain the seed and number."""
    path = folder / f"seed{parameters.seed}_face{number:04d}.png"
    save_png(path, enlarge(make_grid(face[None], 1), face.shape[-1], pixels), mark.replace("face", name_face(parameters, number)))
    return path


def name_face(parameters: SampleParameters, number: int) -> str:
    """Returns a face as text: seed-number-truncation."""
    return f"{parameters.seed}-{number}-{repr(parameters.truncation).removesuffix('.0')}"


def generate_numbered(
    generator: GeneratorNetwork, parameters: SampleParameters, numbers: Sequence[int], given: Given = ANY_LABEL, quiet: bool = False
) -> Iterator[tuple[int, Tensor]]:
    """Yields each number once, in ascending order, with its face (3, H, W) in uint8. Raises FaceganError for a number out of range.

    Args:
        given: positions of label values by column; other labels are drawn with their frequency in the training data.
        quiet: show no progress.
    """
    check_numbers(numbers)
    wanted = set(numbers)
    batches = draw_batches(generator, FACES_AT_ONCE, parameters.seed, given)
    with Progress("faces", len(wanted), "faces", quiet=quiet) as progress:
        for first, latents in zip(range(0, max(wanted, default=-1) + 1, FACES_AT_ONCE), batches, strict=False):
            here = [number for number in range(first, first + FACES_AT_ONCE) if number in wanted]
            if here:
                faces = generate_images(generator, truncate(generator, latents, parameters.truncation)).cpu()  # (B, 3, H, W)
                progress.add(len(here))
                yield from ((number, faces[number - first]) for number in here)


def check_numbers(numbers: Sequence[int]) -> None:
    """Raises FaceganError unless the numbers are valid for faces."""
    wrong = sorted(number for number in numbers if not 0 <= number <= HIGHEST_NUMBER)
    if wrong:
        raise FaceganError(f"expected face numbers from 0 to {HIGHEST_NUMBER:,}; found {wrong[0]:,}; the first face of a seed is 0")


def generate(
    generator: GeneratorNetwork, inputs: Tensor, title: str, render: Callable[[GeneratorNetwork, Tensor], Tensor] = generate_images
) -> Iterator[Tensor]:
    """Yields one face (3, H, W) in uint8 on the CPU for each of the inputs: latents (N, input_size), or whatever ``render`` takes."""
    with Progress(title, len(inputs), "faces") as progress:
        for batch in inputs.split(FACES_AT_ONCE):
            faces = render(generator, batch).cpu()  # (B, 3, H, W)
            progress.add(len(faces))
            yield from faces


def enlarge(picture: np.ndarray, side: int, least: int) -> np.ndarray:
    """Returns the picture (H, W, 3) with every pixel repeated by the smallest factor that makes ``side`` at least ``least`` pixels."""
    factor = math.ceil(least / side)
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)
