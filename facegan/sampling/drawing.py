"""Pictures to look at: faces, a grid, a walk between faces, and how training went.

In: generator.safetensors, which alone is enough for faces, grid and walk; the progress pictures and losses.csv that training
left for the rest. Out: PNG, WebP and GIF files, the same bytes for the same seed on the same machine. Small faces are enlarged
by whole factors, pixel by pixel: nothing is invented.
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.pictures import make_grid, save_png, to_bytes
from facegan.common.progress import Progress
from facegan.models.latents import seeded_latents, truncate
from facegan.sampling.parameters import SampleParameters

FACES_AT_ONCE = 16  # fixed: another number could round another way
GRID_COLUMNS, GRID_FACES = 8, 64
LOOP_HARMONICS = 2
WALK_COLUMNS, WALK_FACES, WALK_FRAMES, WALK_FRAME_MILLISECONDS = 3, 6, 120, 50
PROGRESS_FRAMES, PROGRESS_FRAME_MILLISECONDS, LAST_FRAME_MILLISECONDS = 100, 150, 2_000
GRID_FACE_PIXELS, WALK_FACE_PIXELS, SINGLE_FACE_PIXELS = 64, 96, 128  # at least
ANIMATION_PIXELS = 640  # at most, the longer side of the progress animation
CURVES = {"loss": ("loss_generator", "loss_discriminator"), "mean logit": ("real_logit", "fake_logit")}


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


def draw_walk(generator: nn.Module, parameters: SampleParameters, out: Path) -> None:
    """Writes walk.webp: a few faces, each on its own way through the latents, back at its start when the loop ends."""
    loops = draw_loops(generator, WALK_FACES, WALK_FRAMES, parameters.seed)  # (frames, faces, latent_size)
    faces = generate(generator, truncate(generator, loops.flatten(0, 1), parameters.truncation), "walk")
    frames = (torch.stack([next(faces) for _ in range(WALK_FACES)]) for _ in range(WALK_FRAMES))
    pictures = (enlarge(make_grid(frame, WALK_COLUMNS), frame.shape[-1], WALK_FACE_PIXELS) for frame in frames)
    save_animation(out / "walk.webp", pictures, WALK_FRAME_MILLISECONDS, quality=80)


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
                picture.thumbnail((ANIMATION_PIXELS, ANIMATION_PIXELS), Image.Resampling.LANCZOS)
                yield enlarge(np.asarray(picture.convert("RGB")), picture.width, ANIMATION_PIXELS // 2)

    durations = [PROGRESS_FRAME_MILLISECONDS] * (len(paths) - 1) + [LAST_FRAME_MILLISECONDS]
    save_animation(out / "progress.gif", read(), durations)


def draw_losses(table: Path, out: Path) -> None:
    """Writes losses.png: both networks' losses and mean logits over the images seen.

    Args:
        table: losses.csv.

    Raises:
        FaceganError: no such file, or columns are missing.
    """
    from matplotlib.figure import Figure

    columns = read_columns(table, ["images_seen", *(name for names in CURVES.values() for name in names)])
    figure = Figure(figsize=(8, 6), layout="constrained")
    for axes, (label, names) in zip(figure.subplots(len(CURVES), sharex=True), CURVES.items(), strict=True):
        for name in names:
            axes.plot(columns["images_seen"], columns[name], label=name, linewidth=1)
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    axes.set_xlabel("real images seen")
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "losses.png", dpi=100, metadata={"Software": None})  # without matplotlib's version


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


def choose_evenly(count: int, most: int) -> list[int]:
    """Returns at most so many of the indices below ``count``, evenly spread, the first and the last among them."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def save_animation(path: Path, pictures: Iterator[np.ndarray], milliseconds: int | list[int], **options: int) -> None:
    """Writes an endless animation in the format that the path's suffix names, one picture (H, W, 3) at a time."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    images = map(Image.fromarray, pictures)
    next(images).save(path, save_all=True, append_images=images, duration=milliseconds, loop=0, **options)


def read_columns(table: Path, names: list[str]) -> dict[str, list[float]]:
    """Returns the named columns of a CSV file. Raises FaceganError when the file or a column is missing."""
    if not table.is_file():
        raise FaceganError(f"expected the losses in {table}; found no such file; train first")
    with table.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in names if name not in (reader.fieldnames or [])]
        if missing:
            raise FaceganError(f"expected columns {', '.join(names)} in {table}; found no {', '.join(missing)}; train again")
        rows = list(reader)
    return {name: [float(row[name]) for row in rows] for name in names}
