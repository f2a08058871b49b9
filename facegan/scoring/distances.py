"""How far one set of features lies from another: pure mathematics, no networks and no files.

In: feature matrices (N, D), one row an image, on any device. Out: numbers. Everything is computed in float64, and matrices of all pairs
are seen a tile at a time, so that besides the features a few hundred megabytes suffice for any number of images.

- Fréchet distance: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium".
- Kernel distance: Bińkowski et al. 2018, "Demystifying MMD GANs".
- Inception score: Salimans et al. 2016, "Improved techniques for training GANs".

Precision, recall, density and coverage: ``facegan.scoring.neighbourhoods``.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError

TILE = 2048  # rows and columns of a matrix of all pairs that are computed at a time: 32 MB in float64

Pairs = Callable[[Tensor, Tensor], Tensor]  # float64 rows (n, D) and (m, D) to a number for each pair (n, m)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A normal distribution: its ``mean`` (D,) and a ``root`` (D, R) of its covariance, which is root · rootᵀ. Float64.

    The root may be narrow: fewer images than features leave a covariance of lower rank, and a narrow root says so exactly.
    """

    mean: Tensor
    root: Tensor


def fit_gaussian(features: Tensor) -> Gaussian:
    """Returns the mean and the unbiased covariance (divisor N - 1) of features (N, D).

    Raises:
        FaceganError: fewer than two rows, or numbers that are not finite.
    """
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
    """Returns the sum (D,) of the rows of (N, D), in float64; PyTorch's own would make a float64 copy of them all first."""
    return torch.stack([rows.double().sum(0) for rows in split_rows(features)]).sum(0)


def take_root(covariance: Tensor) -> Tensor:
    """Returns a root (D, D) of a symmetric positive semi-definite matrix: root · rootᵀ is the matrix."""
    values, vectors = torch.linalg.eigh(covariance.double())
    return vectors * values.clamp_min(0).sqrt()


def frechet_distance(first: Gaussian, second: Gaussian) -> float:
    """Returns |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½).

    With Σ = R Rᵀ the last trace is the sum of the singular values of R₁ᵀ R₂. So nothing is inverted and no square root is
    taken of a rounded zero: rank-deficient covariances, the rule when N < D, cost no digits.
    """
    shift = (first.mean - second.mean).square().sum()
    overlap = torch.linalg.svdvals(first.root.T @ second.root).sum()
    distance = shift + first.root.square().sum() + second.root.square().sum() - 2 * overlap
    return max(0.0, distance.item())


def split_rows(features: Tensor) -> tuple[Tensor, ...]:
    """Returns the rows of (N, D) in parts of a tile's height."""
    return features.split(TILE)


def split_pairs(first: Tensor, second: Tensor, pairs: Pairs) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields the matrix of all pairs of rows of (N, D) and (M, D) by tiles: which rows, which columns, and what is there."""
    for top in range(0, len(first), TILE):
        rows = slice(top, min(top + TILE, len(first)))
        above = first[rows].double()
        for left in range(0, len(second), TILE):
            columns = slice(left, min(left + TILE, len(second)))
            yield rows, columns, pairs(above, second[columns].double())


def polynomial_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Returns (xᵀy / D + 1)³ for every pair of rows: (N, D), (M, D) to (N, M)."""
    return (first @ second.T / first.shape[1] + 1) ** 3


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Returns the unbiased squared maximum mean discrepancy under the cubic kernel; it may fall a little below zero."""
    return kernel_distances(first, second, torch.ones(1, len(second), dtype=torch.bool)).item()


def kernel_distances(first: Tensor, second: Tensor, kept: Tensor) -> Tensor:
    """Returns the kernel distances (L,) between the first features (N, D) and L parts of the second ones (M, D).

    Args:
        kept: which of the second rows each part has, bool (L, M).
    """
    everything = torch.ones(1, len(check_features(first, minimum=2)), dtype=torch.float64, device=first.device)
    kept = kept.to(check_features(second, minimum=2).device, torch.float64)
    within_first, within_second = (average_kernel(*part, *part, diagonal=False) for part in ((first, everything), (second, kept)))
    return within_first + within_second - 2 * average_kernel(first, everything, second, kept, diagonal=True)  # (L,)


def average_kernel(first: Tensor, first_kept: Tensor, second: Tensor, second_kept: Tensor, diagonal: bool) -> Tensor:
    """Returns the kernel's means (L,) over the pairs of kept rows, (L, N) and (L, M) of ones and zeros.

    Args:
        diagonal: whether the pairs of a row with itself count; without them both sets must be the same.
    """
    total = torch.zeros((), dtype=torch.float64, device=first.device)
    for rows, columns, kernel in split_pairs(first, second, polynomial_kernel):
        if not diagonal and rows == columns:
            kernel.fill_diagonal_(0)
        total = total + (first_kept[:, rows] @ kernel * second_kept[:, columns]).sum(1)  # (L,)
    counts = first_kept.sum(1)
    return total / (counts * second_kept.sum(1) if diagonal else counts * (counts - 1))


def kernel_distance_over_subsets(first: Tensor, second: Tensor, subsets: int, size: int, seed: int) -> tuple[float, float]:
    """Returns mean and standard deviation of the kernel distance over random subsets of ``size`` rows each.

    The subsets are those that torch-fidelity draws from the same seed, so the two can be compared digit by digit.
    """
    random = np.random.RandomState(seed)
    distances = []
    for _ in range(subsets):
        rows = [torch.from_numpy(random.choice(len(features), size, replace=False)) for features in (first, second)]
        distances.append(kernel_distance(first[rows[0].to(first.device)], second[rows[1].to(second.device)]))
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
    """Returns the features. Raises FaceganError unless they are (N, D), N at least the minimum, and finite."""
    if features.ndim != 2 or len(features) < minimum:
        raise FaceganError(f"expected at least {minimum} rows of features (N, D); found shape {tuple(features.shape)}; score more images")
    if not all(rows.isfinite().all() for rows in split_rows(features)):
        raise FaceganError("expected finite features; found NaN or infinity; look at the generator's images")
    return features
