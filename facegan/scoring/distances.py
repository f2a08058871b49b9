"""How far one set of features lies from another: pure mathematics, no networks and no files.

In: feature matrices (N, D), one row an image, on any device. Out: numbers. Everything is computed in float64.

- Fréchet distance: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium".
- Kernel distance: Bińkowski et al. 2018, "Demystifying MMD GANs".
- Precision and recall: Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative models".
- Density and coverage: Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models".
- Inception score: Salimans et al. 2016, "Improved techniques for training GANs".
"""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError

CHUNK_ROWS = 4096  # rows of a distance or kernel matrix that are computed at a time


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
    mean = features.sum(0, dtype=torch.float64) / count
    if count <= dimensions:
        return Gaussian(mean, (features.double() - mean).T / math.sqrt(count - 1))
    covariance = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=features.device)
    for rows in features.split(CHUNK_ROWS):
        centred = rows.double() - mean  # (n, D)
        covariance.addmm_(centred.T, centred)
    return Gaussian(mean, take_root(covariance / (count - 1)))


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


def polynomial_kernel(first: Tensor, second: Tensor) -> Tensor:
    """Returns (xᵀy / D + 1)³ for every pair of rows: (N, D), (M, D) to (N, M)."""
    return (first.double() @ second.double().T / first.shape[1] + 1) ** 3


def kernel_distance(first: Tensor, second: Tensor) -> float:
    """Returns the unbiased squared maximum mean discrepancy under the cubic kernel; it may fall a little below zero."""
    n, m = check_features(first, minimum=2).shape[0], check_features(second, minimum=2).shape[0]
    within = [(kernel.sum() - kernel.diagonal().sum()) / (count * (count - 1)) for kernel, count in
              ((polynomial_kernel(first, first), n), (polynomial_kernel(second, second), m))]
    return (within[0] + within[1] - 2 * polynomial_kernel(first, second).mean()).item()


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


def measure_distances(first: Tensor, second: Tensor) -> Tensor:
    """Returns the Euclidean distance of every pair of rows: (N, D), (M, D) to (N, M), in float64."""
    second = second.double()
    return torch.cat([torch.cdist(rows.double(), second) for rows in first.split(CHUNK_ROWS)])


def neighbour_radii(distances: Tensor, neighbours: int) -> Tensor:
    """Returns each row's distance to its k-th nearest other row: (N, N) to (N,). Raises FaceganError when N ≤ k."""
    if len(distances) <= neighbours:
        raise FaceganError(f"expected more than {neighbours} images for neighbours in feature space; found {len(distances)}; raise evaluate.images")
    return distances.kthvalue(neighbours + 1, dim=1).values  # the nearest is the row itself


def precision_and_recall(between: Tensor, within_real: Tensor, within_fake: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Returns the share of fakes inside the real manifold, and of real ones inside the fake manifold.

    Args:
        between, within_real, within_fake: distances (real, fake), (real, real) and (fake, fake).
    """
    precision = (between <= neighbour_radii(within_real, neighbours)[:, None]).any(0)  # (fake,)
    recall = (between <= neighbour_radii(within_fake, neighbours)[None, :]).any(1)  # (real,)
    return precision.double().mean().item(), recall.double().mean().item()


def density_and_coverage(between: Tensor, within_real: Tensor, neighbours: int = 5) -> tuple[float, float]:
    """Returns how many real neighbourhoods a fake lies in, by k (1 on average for a perfect generator; may pass 1), and the
    share of real neighbourhoods that hold a fake at all.

    Args:
        between, within_real: distances (real, fake) and (real, real).
    """
    inside = between < neighbour_radii(within_real, neighbours)[:, None]  # (real, fake)
    return inside.sum(0).double().mean().item() / neighbours, inside.any(1).double().mean().item()


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
    if not features.isfinite().all():
        raise FaceganError("expected finite features; found NaN or infinity; look at the generator's images")
    return features
