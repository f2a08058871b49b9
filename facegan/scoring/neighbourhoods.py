"""Nearest neighbours in feature space: how good and how varied generated images are, told apart.

In: features of real images (N, D) and of generated ones (M, D), one row an image. Out: precision and recall (Kynkäänniemi et al. 2019,
"Improved precision and recall metric for assessing generative models"), density and coverage (Naeem et al. 2020, "Reliable fidelity and
diversity metrics for generative models"). Distances are Euclidean, in float64, and seen a tile at a time.
"""

import torch
from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.scoring.distances import split_pairs

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5


def find_neighbours(queries: Tensor, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns distances and rows, (Q, count) each, of the nearest among features (N, D) to every query (Q, D), nearest first."""
    distances = torch.full((len(queries), count), torch.inf, dtype=torch.float64, device=queries.device)
    rows = torch.zeros(len(queries), count, dtype=torch.int64, device=queries.device)
    for part, columns, tile in split_pairs(queries, images, torch.cdist):
        found = tile.topk(min(count, tile.shape[1]), largest=False)
        nearest, order = torch.cat([distances[part], found.values], 1).sort(dim=1, stable=True)
        distances[part] = nearest[:, :count]
        rows[part] = torch.cat([rows[part], found.indices + columns.start], 1).gather(1, order)[:, :count]
    return distances, rows


def measure_radii(features: Tensor, kept: Tensor, neighbours: int) -> Tensor:
    """Returns each row's distances (L, N, neighbours) to its nearest other rows, nearest first, in L parts of the features (N, D).

    Args:
        kept: which rows each part has, bool (L, N).

    Raises:
        FaceganError: a part with too few rows.
    """
    fewest = int(kept.sum(1).min())
    if fewest <= neighbours:
        raise FaceganError(f"expected more than {neighbours} images for neighbours in feature space; found {fewest}; score more images")
    nearest = torch.full((*kept.shape, neighbours + 1), torch.inf, dtype=torch.float64, device=features.device)  # the row itself is one
    for rows, columns, tile in split_pairs(features, features, torch.cdist):
        for part, mask in zip(nearest, kept[:, columns], strict=True):
            found = torch.cat([part[rows], tile.masked_fill(~mask, torch.inf)], 1)
            part[rows] = found.topk(neighbours + 1, largest=False).values
    return nearest[..., 1:]


def compare_neighbourhoods(
    real: Tensor,
    fake: Tensor,
    kept: Tensor | None = None,
    precision_neighbours: int = PRECISION_NEIGHBOURS,
    density_neighbours: int = DENSITY_NEIGHBOURS,
) -> dict[str, Tensor]:
    """Returns four scores of generated features against real ones, (L,) each, for L parts of the generated ones.

    - precision: the share of generated images inside a real image's neighbourhood, which reaches to its 3rd neighbour.
    - recall: the share of real images inside a generated image's neighbourhood, which does so too.
    - density: how many real neighbourhoods, here to the 5th neighbour, a generated image lies in, divided by 5: 1 on average for a
      perfect generator, and it may pass 1.
    - coverage: the share of real images with a generated one in that neighbourhood.

    Args:
        kept: which of the generated images each part has, bool (L, M); None: one part with all of them.

    Raises:
        FaceganError: too few images.
    """
    kept = torch.ones(1, len(fake), dtype=torch.bool, device=fake.device) if kept is None else kept.to(fake.device)
    everything = torch.ones(1, len(real), dtype=torch.bool, device=real.device)
    real_radii = measure_radii(real, everything, max(precision_neighbours, density_neighbours))[0]  # (N, 5)
    near, far = real_radii[:, precision_neighbours - 1, None], real_radii[:, density_neighbours - 1, None]  # (N, 1)
    fake_radii = measure_radii(fake, kept, precision_neighbours)[..., -1].masked_fill(~kept, -1)  # (L, M): who is left out reaches nobody
    inside = torch.zeros(len(fake), dtype=torch.bool, device=fake.device)
    around = torch.zeros(len(fake), dtype=torch.float64, device=fake.device)  # real neighbourhoods that a generated image lies in
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
        "density": kept.double() @ around / counts / density_neighbours,
        "coverage": covered.double().mean(1),
    }
