"""Animations: a walk through the latent space, one face turning into another, and the progress of the training.

Input: a generator, or the progress images written by training. Output: an endless WebP or GIF animation.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.common.files import replace_file
from facegan.common.marks import Mark, save_marked
from facegan.common.pictures import make_grid
from facegan.models.latents import ANY_LABEL, Given, draw_batches, seeded_latents, truncate
from facegan.models.network import GeneratorNetwork
from facegan.sampling import codes
from facegan.sampling.faces import UNKNOWN, check_numbers, enlarge, generate, name_face
from facegan.sampling.parameters import SampleParameters

LOOP_HARMONICS = 2
WALK_COLUMNS, WALK_FACES, WALK_FRAMES, WALK_FRAME_MILLISECONDS = 3, 6, 120, 50
WALK_FACE_PIXELS = 96  # minimum
BLEND_FRAMES, BLEND_FACE_PIXELS = 40, 256  # each way; minimum
PROGRESS_FRAMES, PROGRESS_FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 100, 150, 2_000  # at most; the last frame is shown longer
PROGRESS_PIXELS = 640  # maximum of the longer side


def draw_walk(generator: GeneratorNetwork, parameters: SampleParameters, out: Path, given: Given = ANY_LABEL, mark: Mark = UNKNOWN) -> None:
    """Writes walk.webp: a few faces, each on its own closed path through the latent space, with constant labels."""
    loops = draw_loops(generator, WALK_FACES, WALK_FRAMES, parameters.seed)  # (frames, faces, latent_size)
    labels = seeded_latents(generator, WALK_FACES, parameters.seed, given)[:, generator.latent_size :]
    loops = torch.cat([loops, labels.expand(WALK_FRAMES, -1, -1)], 2)  # (frames, faces, input_size)
    faces = generate(generator, truncate(generator, loops.flatten(0, 1), parameters.truncation), "walk")
    frames = (torch.stack([next(faces) for _ in range(WALK_FACES)]) for _ in range(WALK_FRAMES))
    pictures = (enlarge(make_grid(frame, WALK_COLUMNS), frame.shape[-1], WALK_FACE_PIXELS) for frame in frames)
    mark = mark.replace(f"walk of seed {parameters.seed}, truncation {parameters.truncation}")
    save_animation(out / "walk.webp", pictures, WALK_FRAME_MILLISECONDS, mark, quality=80)


def draw_loops(generator: GeneratorNetwork, count: int, frames: int, seed: int) -> Tensor:
    """Returns closed paths through the latent space, (frames, count, latent_size): the last frame is followed by the first.

    A path is a random Fourier series, z(t) = Σₖ (aₖ cos kt + bₖ sin kt) / √K with normally distributed aₖ and bₖ. It is smooth, and z(t)
    is normally distributed at every t, with the right length. Uniformly distributed latents are such a path mapped by the normal
    distribution function.
    """
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(2, LOOP_HARMONICS, count, generator.latent_size, generator=random)
    angles = 2 * math.pi * torch.arange(frames) / frames * torch.arange(1, LOOP_HARMONICS + 1)[:, None]  # (K, frames)
    waves = torch.stack([angles.cos(), angles.sin()])  # (2, K, frames)
    paths = torch.einsum("pkf,pkcn->fcn", waves, weights) / math.sqrt(LOOP_HARMONICS)  # (frames, count, latent_size)
    return torch.erf(paths / math.sqrt(2)) if generator.latent_distribution == "uniform" else paths


def draw_blend(
    generator: GeneratorNetwork,
    parameters: SampleParameters,
    numbers: tuple[int, int],
    out: Path,
    pixels: int = BLEND_FACE_PIXELS,
    given: tuple[Given, Given] = (ANY_LABEL, ANY_LABEL),
    mark: Mark = UNKNOWN,
) -> Path:
    """Writes seed…_face…_to_….webp, in which one face of a seed turns into another and back, and returns its path.

    Args:
        pixels: the minimum size of the face, reached by repeating pixels; 1 keeps the network's resolution.
        given: positions of label values by column, of both faces.
    """
    check_numbers(numbers)
    ends = zip(numbers, given, strict=True)
    latents = torch.stack([find_latent(generator, parameters.seed, number, labels) for number, labels in ends])  # (2, input_size)
    both = codes.encode(generator, latents.to(codes.device_of(generator)), parameters.truncation)
    faces = generate(generator, codes.walk(generator, both, BLEND_FRAMES), "blend", codes.render)
    path = out / f"seed{parameters.seed}_face{numbers[0]:04d}_to_{numbers[1]:04d}.webp"
    pictures = (enlarge(make_grid(face[None], 1), face.shape[-1], pixels) for face in faces)
    values = {column.name: column.values for column in generator.labels.columns}
    shown = [codes.write_labels({name: values[name][position] for name, position in labels.items()}) for labels in given]
    names = [name_face(parameters, number) + text for number, text in zip(numbers, shown, strict=True)]
    mark = dataclasses.replace(mark, content="blend of two faces", faces=tuple(names), labels={})  # they differ between the faces
    save_animation(path, pictures, WALK_FRAME_MILLISECONDS, mark, quality=80)
    return path


def find_latent(generator: GeneratorNetwork, seed: int, number: int, given: Given = ANY_LABEL) -> Tensor:
    """Returns the latent (input_size,) of a seed's face with this number."""
    batches = draw_batches(generator, codes.FACES_AT_ONCE, seed, given)
    return next(itertools.islice(batches, number // codes.FACES_AT_ONCE, None))[number % codes.FACES_AT_ONCE]


def draw_progress(folder: Path, out: Path, mark: Mark = UNKNOWN) -> None:
    """Writes progress.gif from training's images (NUMBER.png) in ``folder``. Raises FaceganError if there are none."""
    from PIL import Image

    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise FaceganError(f"expected progress images (*.png) in {folder}; found none; run the stage train first")
    paths = [paths[index] for index in choose_evenly(len(paths), PROGRESS_FRAMES)]

    def read() -> Iterator[np.ndarray]:
        for path in paths:
            with Image.open(path) as picture:
                picture.thumbnail((PROGRESS_PIXELS, PROGRESS_PIXELS), Image.Resampling.LANCZOS)
                yield enlarge(np.asarray(picture.convert("RGB")), picture.width, PROGRESS_PIXELS // 2)

    durations = [PROGRESS_FRAME_MILLISECONDS] * (len(paths) - 1) + [LAST_FRAME_MILLISECONDS]
    save_animation(out / "progress.gif", read(), durations, mark.replace("progress of the training"))


def choose_evenly(count: int, most: int) -> list[int]:
    """Returns at most ``most`` evenly spaced indices below ``count``, including the first and the last."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def save_animation(path: Path, pictures: Iterator[np.ndarray], milliseconds: int | list[int], mark: Mark, **options: int) -> None:
    """Writes pictures (H, W, 3) as an endless animation, in the format given by the path's suffix, holding one picture at a time."""
    from PIL import Image

    images: Iterator[Image.Image] = map(Image.fromarray, pictures)
    if path.suffix == ".gif":  # Pillow's default, the median cut, takes 30 times as long for hardly better colours
        images = (image.quantize(method=Image.Quantize.FASTOCTREE) for image in images)
    with replace_file(path) as file:
        options |= {"save_all": True, "loop": 0}
        save_marked(file, next(images), path.suffix[1:].upper(), mark, append_images=images, duration=milliseconds, **options)
