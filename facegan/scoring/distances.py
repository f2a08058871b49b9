"""Distances between two sets of features. No networks, no files.

Input: feature matrices (N, D), one row per image, on any device. Output: numbers. All arithmetic is in float64. Matrices over all
pairs of images are processed in tiles, so memory beyond the features stays at a few hundred megabytes for any number of images.

- Fréchet distance: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium".
- Kernel distance: Bińkowski et al. 2018, "Demystifying MMD GANs".
- Inception score: Salimans et al. 2016, "Improved techniques for training GANs".

Precision, recall, density and coverage are in ``facegan.scoring.neighbourhoods``.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError

TILE = 2048  # rows and columns per tile of an all-pairs matrix: 32 MB in float64

Pairs = Callable[[Tensor, Tensor], Tensor]  # float64 rows (n, D) and (m, D) to one number per pair (n, m)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A normal distribution in float64: ``mean`` (D,) and a ``root`` (D, R) of the covariance, which is root · rootᵀ.

    R is smaller than D when there are fewer images than features; the covariance then has rank R or less.
    """

    mean: Tensor
    root: Tensor


def fit_gaussian(features: Tensor) -> Gaussian:
    """Returns mean and unbiased covariance (divisor N - 1) of features (N, D). Raises FaceganError if N < 2 or a value is not finite."""
    count, dimensions = check_features(features, minimum=2).shape
    mean = sum_rows(features) / count
    if count <= dimensions:
        return Gaussian(mean, (features.double() - mean).T / math.sqrt(count - 1))
    covariance = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=features.device)
    for rows in split_rows(features):
        centred = rows.double() - mean  # (n, D)
        covariance.addmm_(centred.T, centred)
    return Gaussian(mean, take_root(covariance / (count - 1)))


def sum_rows(features: Tensor) -> Tensor:
    """Returns the float64 sum (D,) of the rows of (N, D), without a float64 copy of the full matrix."""
    return torch.stack([rows.double().sum(0) for rows in split_rows(features)]).sum(0)


def take_root(covariance: Tensor) -> Tensor:
    """Returns a root (D, D) of a symmetric positive semi-definite matrix: root · rootᵀ is the matrix."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * values.clamp_min(0).sqrt()


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Returns |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½).

    With Σ = R Rᵀ, the trace of the last term is the sum of the singular values of R₁ᵀ R₂. This needs no inverse and no square root of
    a value rounded to zero, so rank-deficient covariances (the usual case when N < D) lose no precision.
    """
    shift = (first.mean - second.mean).square().sum()
    overlap = torch.linalg.svdvals(first.root.T @ second.root).sum()
    distance = shift + first.root.square().sum() + second.root.square().sum() - 2 * overlap
    return max(0.0, distance.item())


def split_rows(features: Tensor) -> tuple[Tensor, ...]:
    """Returns the rows of (N, D) in chunks of at most ``TILE`` rows."""
    return features.split(TILE)


def split_pairs(first: Tensor, second: Tensor, pairs: Pairs) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields the matrix over all pairs of rows of (N, D) and (M, D) in tiles: row range, column range, values."""
    for top in range(0, len(first), TILE):
        rows = slice(top, min(top + TILE, len(first)))
        first_rows = first[rows].double()
        for left in range(0, len(second), TILE):
            columns = slice(left, min(left + TILE, len(second)))
            yield rows, columns, pairs(first_rows, second[columns].double())


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Returns the unbiased squared maximum mean discrepancy under the kernel (xᵀy / D + 1)³; it can be slightly negative."""
    return kernel_distances(first, second, torch.ones(1, len(second), dtype=torch.bool)).item()


def kernel_distances(first: Tensor, second: Tensor, kept: Tensor, first_kept: Tensor | None = None) -> Tensor:
    """Returns the kernel distances (L,) between features (N, D) and L subsets of the second ones (M, D).

    Args:
        kept: the rows of ``second`` in each subset, bool (L, M).
        first_kept: likewise of ``first``, bool (L, N); None: all rows.
    """
    first_kept = torch.ones(1, len(check_features(first, minimum=2)), dtype=torch.bool) if first_kept is None else first_kept
    first_kept, kept = (rows.to(check_features(second, minimum=2).device, torch.float64) for rows in (first_kept, kept))
    within_first, within_second = (average_kernel(*part, *part, diagonal=False) for part in ((first, first_kept), (second, kept)))
    return within_first + within_second - 2 * average_kernel(first, first_kept, second, kept, diagonal=True)  # (L,)


def average_kernel(first: Tensor, first_kept: Tensor, second: Tensor, second_kept: Tensor, diagonal: bool) -> Tensor:
    """Returns the kernel's means (L,) over the pairs of kept rows; the masks (L, N) and (L, M) hold ones and zeros.

    Args:
        diagonal: whether to include pairs of a row with itself; if not, both sets must be the same.
    """
    total = torch.zeros((), dtype=torch.float64, device=first.device)
    for rows, columns, kernel in split_pairs(first, second, lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3):
        if not diagonal and rows == columns:
            kernel.fill_diagonal_(0)
        total = total + (first_kept[:, rows] @ kernel * second_kept[:, columns]).sum(1)  # (L,)
    counts = first_kept.sum(1)
    return total / (counts * second_kept.sum(1) if diagonal else counts * (counts - 1))


def kernel_distance_over_subsets(first: Tensor, second: Tensor, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Returns mean and standard deviation of the kernel distance over random subsets of ``size`` rows each.

    The same seed gives the same subsets as torch-fidelity, so that both can be compared digit by digit.
    """
    random = np.random.RandomState(seed)
    counts = len(first), len(second)
    draws = [[torch.from_numpy(random.choice(count, size, replace=False)) for count in counts] for _ in range(subsets)]
    if math.prod(counts) <= subsets * size**2:  # one kernel of all pairs is less work than one for each subset
        kept = [torch.zeros(subsets, count, dtype=torch.bool) for count in counts]
        for subset, rows in enumerate(draws):
            for mask, chosen in zip(kept, rows, strict=True):
                mask[subset, chosen] = True
        distances = kernel_distances(first, second, kept[1], kept[0]).tolist()
    else:
        distances = [kernel_distance(first[one.to(first.device)], second[other.to(second.device)]) for one, other in draws]
    return float(np.mean(distances)), float(np.std(distances))


def inception_score(logits: Tensor, splits: int = 10) -> tuple[float, float]:
    """Returns mean and standard deviation over ``splits`` of exp E KL(p(y|x) ‖ p(y)), for logits (N, classes)."""
    count = check_features(logits, minimum=splits).shape[0]
    scores = []
    for split in range(splits):
        part = logits[split * count // splits : (split + 1) * count // splits].double()
        conditional, log_conditional = part.softmax(1), part.log_softmax(1)
        divergence = (conditional * (log_conditional - conditional.mean(0).log())).sum(1)  # (n,)
        scores.append(divergence.mean().exp().item())
    return float(np.mean(scores)), float(np.std(scores))


def check_features(features: Tensor, minimum: int) -> Tensor:
    """Returns the features. Raises FaceganError unless they are (N, D) with N ≥ ``minimum``, and finite."""
    if features.ndim != 2 or len(features) < minimum:
        raise FaceganError(f"expected at least {minimum} rows of features (N, D); found shape {tuple(features.shape)}; score more images")
    if not all(rows.isfinite().all() for rows in split_rows(features)):
        raise FaceganError("expected finite features; found NaN or infinity; look at the generator's images")
    return features
