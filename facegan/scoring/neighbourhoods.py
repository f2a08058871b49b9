"""Nearest neighbours in feature space: separate scores for quality and variety.

Input: features of real images (N, D) and of generated ones (M, D), one row per image. Output: precision and recall (Kynkäänniemi et al.
2019, "Improved precision and recall metric for assessing generative models"), density and coverage (Naeem et al. 2020, "Reliable
fidelity and diversity metrics for generative models"). Distances are Euclidean, in float64, and computed in tiles.
"""

import torch
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.scoring.distances import split_pairs

NEIGHBOURS = (3, 5)  # for precision and recall, for density and coverage


def find_neighbours(queries: Tensor, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns the distances and the rows, (Q, count) each, of the features (N, D) nearest to every query (Q, D), nearest first."""
    distances = torch.full((len(queries), count), torch.inf, dtype=torch.float64, device=queries.device)
    rows = torch.zeros(len(queries), count, dtype=torch.int64, device=queries.device)
    for part, columns, tile in split_pairs(queries, images, torch.cdist):
        found = tile.topk(min(count, tile.shape[1]), largest=False)
        nearest, order = torch.cat([distances[part], found.values], 1).sort(dim=1, stable=True)
        distances[part] = nearest[:, :count]
        rows[part] = torch.cat([rows[part], found.indices + columns.start], 1).gather(1, order)[:, :count]
    return distances, rows


def measure_radii(features: Tensor, kept: Tensor, neighbours: int) -> Tensor:
    """Returns each row's distances (L, N, neighbours) to its nearest other rows, nearest first, within L subsets of the features (N, D).

    Raises FaceganError for subsets with too few rows.

    Args:
        kept: the rows in each subset, bool (L, N).
    """
    fewest = int(kept.sum(1).min())
    if fewest <= neighbours:
        raise FaceganError(f"expected more than {neighbours} images for neighbours in feature space; found {fewest}; score more images")
    nearest = torch.full((*kept.shape, neighbours + 1), torch.inf, dtype=torch.float64, device=features.device)  # + 1: the row itself
    for rows, columns, tile in split_pairs(features, features, torch.cdist):
        for part, mask in zip(nearest, kept[:, columns], strict=True):
            found = torch.cat([part[rows], tile.masked_fill(~mask, torch.inf)], 1)
            part[rows] = found.topk(neighbours + 1, largest=False).values
    return nearest[..., 1:]


def compare_neighbourhoods(
    real: Tensor, fake: Tensor, kept: Tensor | None = None, neighbours: tuple[int, int] = NEIGHBOURS
) -> dict[str, Tensor]:
    """Returns four scores (L,) of generated features against real ones, for L subsets of the generated ones.

    Raises FaceganError for subsets with too few images.

    The k-neighbourhood of an image is the ball around it that reaches its k-th nearest neighbour in its own set.

    - precision: the share of generated images within the 3-neighbourhood of a real image.
    - recall: the share of real images within the 3-neighbourhood of a generated image.
    - density: the number of real 5-neighbourhoods around a generated image, divided by 5; about 1 for a perfect generator, with no
      upper bound.
    - coverage: the share of real images with a generated image in their 5-neighbourhood.

    Args:
        kept: the generated images in each subset, bool (L, M); None: one subset with all of them.
    """
    few, many = neighbours
    kept = torch.ones(1, len(fake), dtype=torch.bool, device=fake.device) if kept is None else kept.to(fake.device)
    everything = torch.ones(1, len(real), dtype=torch.bool, device=real.device)
    real_radii = measure_radii(real, everything, max(neighbours))[0]  # (N, 5)
    near, far = real_radii[:, few - 1, None], real_radii[:, many - 1, None]  # (N, 1)
    fake_radii = measure_radii(fake, kept, few)[..., -1].masked_fill(~kept, -1)  # (L, M); -1: outside the subset
    inside = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    around = torch.zeros(len(fake), dtype=torch.float64, device=fake.device)  # number of real neighbourhoods around each image
    reached, covered = (torch.zeros(len(kept), len(real), dtype=torch.bool, device=fake.device) for _ in range(2))
    for rows, columns, tile in split_pairs(real, fake, torch.cdist):
        close = tile < far[rows]  # (n, m)
        inside[columns] |= (tile <= near[rows]).any(0)
        around[columns] += close.sum(0)
        for part, mask in enumerate(kept[:, columns]):
            reached[part, rows] |= (tile <= fake_radii[part, columns]).any(1)
            covered[part, rows] |= (close & mask).any(1)
    counts = kept.sum(1)
    return {
        "precision": kept.double() @ inside.double() / counts,
        "recall": reached.double().mean(1),
        "density": kept.double() @ around / counts / many,
        "coverage": covered.double().mean(1),
    }
