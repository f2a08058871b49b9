"""The structure space: a feature space of coarse pixels, fitted to the real images. It needs no network and no weights.

Input: uint8 images (N, 3, H, W). Output: features (N, K). Each image is averaged to 16 × 16 pixels and projected onto the principal
components of the real training images (Turk and Pentland 1991, "Eigenfaces for recognition"). A distance in this space sees where things
are, which colours they have and how much they vary, but not sharpness or texture. Features of a network see mostly the latter, so a
generator needs both scores; docs/measurements/scores.md has the measurements.

The same image always has the same features, in any batch and on any machine: averages are integers, the components are rounded to
multiples of 2⁻²⁰, and so every product and every sum in float64 is exact, whatever the order of the additions.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

SIZE = 16  # pixels; this and the number of components were chosen by benchmarks/degradations.py
COMPONENTS = 192
GRID = 2.0**20  # components are multiples of 1 / GRID
NAME = f"pixels{SIZE}"


def fit_components(averages: Tensor, count: int = COMPONENTS) -> Tensor:
    """Returns the principal components (K, D) of averages (N, D), in float64, the largest variance first; at most N - 1 or D of them."""
    averages = averages.double().cpu()
    centred = averages - averages.mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)  # smallest variance first
    kept = min(count, len(averages) - 1, averages.shape[1])
    return (vectors.T.flip(0)[:kept] * GRID).round().div(GRID).contiguous()


def project(averages: Tensor, components: Tensor) -> Tensor:
    """Returns the features (N, K) of averages (N, D), in float32. They are not centred, because distances do not need that."""
    return (averages.double() @ components.to(averages.device).T).float()


def watch_averages(batches: Iterable[Tensor], found: list[Tensor]) -> Iterator[Tensor]:
    """Yields batches of images (B, 3, H, W) in uint8 unchanged, and appends their averages to ``found``."""
    for batch in batches:
        found.append(average_pixels(batch))
        yield batch


def average_pixels(images: Tensor, size: int = SIZE) -> Tensor:
    """Returns the images (B, 3, H, W) in uint8, averaged to ``size`` × ``size`` pixels, as float32 (B, 3 · size²) in [-1, 1].

    Pixels on the border between two averages count for both, by their areas. The values are multiples of 2⁻¹⁴, for exact projections.
    """
    height, width = (overlap(pixels, size).to(images.device) for pixels in images.shape[-2:])  # (size, H), (size, W)
    sums = height @ images.double() @ width.T  # (B, 3, size, size), exact integers, at most 255 · H · W
    area = images.shape[-2] * images.shape[-1]
    return ((sums / area / 127.5 - 1) * 2**14).round().div(2**14).flatten(1).float()


def overlap(pixels: int, size: int) -> Tensor:
    """Returns how much of each of ``pixels`` in a row is in each of ``size`` equal intervals: (size, pixels), in units of 1 / size."""
    starts, places = torch.arange(size)[:, None] * pixels, torch.arange(pixels) * size
    return (torch.minimum(starts + pixels, places + size) - torch.maximum(starts, places)).clamp(min=0).double()
