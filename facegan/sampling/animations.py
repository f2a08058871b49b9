"""Moving pictures: a walk through the latents, one face turning into another, and how the faces came out of the noise in training.

In: a generator, or the progress pictures that training left. Out: an endless WebP or GIF animation.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.files import replace_file
from facegan.common.pictures import make_grid
from facegan.models.latents import truncate
from facegan.sampling.faces import check_numbers, draw_batches, enlarge, generate
from facegan.sampling.parameters import SampleParameters

LOOP_HARMONICS = 2
WALK_COLUMNS, WALK_FACES, WALK_FRAMES, WALK_FRAME_MILLISECONDS = 3, 6, 120, 50
WALK_FACE_PIXELS = 96  # at least
BLEND_FRAMES, BLEND_FACE_PIXELS = 80, 256  # there and back; at least
PROGRESS_FRAMES, PROGRESS_FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 100, 150, 2_000
PROGRESS_PIXELS = 640  # at most, the longer side


def draw_walk(generator: nn.Module, parameters: SampleParameters, out: Path) -> None:
    """Writes walk.webp: a few faces, each on its own way through the latents, back at its start when the loop ends."""
    loops = draw_loops(generator, WALK_FACES, WALK_FRAMES, parameters.seed)  # (frames, faces, latent_size)
    faces = generate(generator, truncate(generator, loops.flatten(0, 1), parameters.truncation), "walk")
    frames = (torch.stack([next(faces) for _ in range(WALK_FACES)]) for _ in range(WALK_FRAMES))
    pictures = (enlarge(make_grid(frame, WALK_COLUMNS), frame.shape[-1], WALK_FACE_PIXELS) for frame in frames)
    save_animation(out / "walk.webp", pictures, WALK_FRAME_MILLISECONDS, quality=80)


def draw_loops(generator: nn.Module, count: int, frames: int, seed: int) -> Tensor:
    """Returns closed ways through the latents, (frames, count, latent_size): the last frame is followed by the first.

    A way is a random Fourier series, z(t) = Σₖ (aₖ cos kt + bₖ sin kt) / √K with normal aₖ and bₖ. So it has no corners, and
    z is at every t exactly as likely as a latent drawn by itself: its length stays right, which is what spherical
    interpolation is for. Uniform latents are such a way after the normal distribution function, and stay uniform.
    """
    random = torch.Generator().manual_seed(seed)
    weights = torch.randn(2, LOOP_HARMONICS, count, generator.latent_size, generator=random)
    angles = 2 * math.pi * torch.arange(frames) / frames * torch.arange(1, LOOP_HARMONICS + 1)[:, None]  # (K, frames)
    waves = torch.stack([angles.cos(), angles.sin()])  # (2, K, frames)
    ways = torch.einsum("pkf,pkcn->fcn", waves, weights) / math.sqrt(LOOP_HARMONICS)  # (frames, count, latent_size)
    return torch.erf(ways / math.sqrt(2)) if generator.latent_distribution == "uniform" else ways


def draw_blend(
    generator: nn.Module, parameters: SampleParameters, numbers: tuple[int, int], out: Path, pixels: int = BLEND_FACE_PIXELS
) -> Path:
    """Writes seed…_face…_to_….webp: one of a seed's faces turns into another and back, without a halt; returns the file.

    Args:
        pixels: the face is enlarged to at least this; 1 leaves it at the network's own size.
    """
    first, second = (find_latent(generator, parameters.seed, number) for number in numbers)
    ways = loop_between(generator, first, second, BLEND_FRAMES)  # (frames, latent_size)
    faces = generate(generator, truncate(generator, ways, parameters.truncation), "blend")
    path = out / f"seed{parameters.seed}_face{numbers[0]:04d}_to_{numbers[1]:04d}.webp"
    save_animation(path, (enlarge(make_grid(face[None], 1), face.shape[-1], pixels) for face in faces), WALK_FRAME_MILLISECONDS, quality=80)
    return path


def find_latent(generator: nn.Module, seed: int, number: int) -> Tensor:
    """Returns the latent (latent_size,) of one of a seed's faces. Raises FaceganError for a number that no face has."""
    check_numbers([number])
    *_, (first, latents) = draw_batches(generator, seed, number + 1)
    return latents[number - first]


def loop_between(generator: nn.Module, first: Tensor, second: Tensor, frames: int) -> Tensor:
    """Returns a closed way (frames, latent_size) from one latent (latent_size,) to another and back, slow at both.

    z(θ) = z₁ cos θ + z₂ sin θ with θ from 0 to π/2: of two normal latents that were drawn by themselves this is, at every θ, exactly
    as likely as they are. Uniform latents go that way as normal ones and come back.
    """
    uniform = generator.latent_distribution == "uniform"
    if uniform:
        first, second = (torch.special.ndtri((latent.double() + 1) / 2).clamp(-8, 8) for latent in (first, second))
    angles = math.pi / 4 * (1 - torch.cos(2 * math.pi * torch.arange(frames, dtype=torch.float64) / frames))[:, None]  # (frames, 1)
    ways = first * angles.cos() + second * angles.sin()  # (frames, latent_size)
    return (torch.special.ndtr(ways) * 2 - 1 if uniform else ways).float()


def draw_progress(folder: Path, out: Path) -> None:
    """Writes progress.gif from the pictures (NUMBER.png) that training left in ``folder``, the last one held.

    Raises:
        FaceganError: there are none.
    """
    from PIL import Image

    paths = sorted(folder.glob("*.png"))
    if not paths:
        raise FaceganError(f"expected progress pictures (*.png) in {folder}; found none; train first")
    paths = [paths[index] for index in choose_evenly(len(paths), PROGRESS_FRAMES)]

    def read() -> Iterator[np.ndarray]:
        for path in paths:
            with Image.open(path) as picture:
                picture.thumbnail((PROGRESS_PIXELS, PROGRESS_PIXELS), Image.Resampling.LANCZOS)
                yield enlarge(np.asarray(picture.convert("RGB")), picture.width, PROGRESS_PIXELS // 2)

    durations = [PROGRESS_FRAME_MILLISECONDS] * (len(paths) - 1) + [LAST_FRAME_MILLISECONDS]
    save_animation(out / "progress.gif", read(), durations)


def choose_evenly(count: int, most: int) -> list[int]:
    """Returns at most so many of the indices below ``count``, evenly spread, the first and the last among them."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def save_animation(path: Path, pictures: Iterator[np.ndarray], milliseconds: int | list[int], **options: int) -> None:
    """Writes an endless animation in the format that the path's suffix names, one picture (H, W, 3) at a time."""
    from PIL import Image

    images = map(Image.fromarray, pictures)
    with replace_file(path) as file:
        next(images).save(file, format=path.suffix[1:], save_all=True, append_images=images, duration=milliseconds, loop=0, **options)
