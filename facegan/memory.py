"""Memory or imagination: does a generator replay its training images?

In: features (N, D) of generated, training and held-out images. Out: how often a generated image lies closer to its nearest
training image than a held-out image does, and a picture sheet of the nearest neighbours.

Fresh images of the same kind come out at one half or below (a poor generator's images lie far from everything); a replayed
training set comes out near one. The idea is that of Meehan, Chaudhuri and Dasgupta 2020, "A non-parametric test to detect
data-copying in generative models".
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from facegan.pictures import make_grid
from facegan.scores import CHUNK_ROWS

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Memory:
    """The share of pairs (generated, held out) in which the generated image is the closer to its nearest training image.

    ``low`` and ``high`` bound it with 95% confidence. ``caught`` says that the whole interval lies above one half.
    """

    share: float
    low: float
    high: float
    caught: bool


def find_neighbours(queries: Tensor, images: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Returns distances and rows, (Q, count) each, of the nearest among features (N, D) to every query (Q, D), nearest first."""
    images = images.double()
    found = [torch.cdist(rows.double(), images).topk(count, largest=False) for rows in queries.split(CHUNK_ROWS)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def measure_memory(fake: Tensor, holdout: Tensor, train: Tensor, seed: int) -> Memory:
    """Returns how far the generated features (M, D) hug the training ones compared with the held-out ones (H, D).

    The interval is a bootstrap over both: ``RESAMPLES`` draws from the seed.
    """
    fake_distances = find_neighbours(fake, train, 1)[0].flatten().cpu().numpy()
    holdout_distances = find_neighbours(holdout, train, 1)[0].flatten().cpu().numpy()
    random = np.random.default_rng(seed)

    def draw(values: np.ndarray) -> np.ndarray:
        return values[random.integers(len(values), size=len(values))]

    shares = [share_closer(draw(fake_distances), draw(holdout_distances)) for _ in range(RESAMPLES)]
    low, high = np.quantile(shares, [0.025, 0.975])
    return Memory(share_closer(fake_distances, holdout_distances), float(low), float(high), bool(low > 0.5))


def share_closer(fake_distances: np.ndarray, holdout_distances: np.ndarray) -> float:
    """Returns the share of pairs whose generated distance is the smaller; a tie counts half."""
    ordered = np.sort(holdout_distances)
    below = len(ordered) - np.searchsorted(ordered, fake_distances, side="right")
    ties = np.searchsorted(ordered, fake_distances, side="right") - np.searchsorted(ordered, fake_distances, side="left")
    return float((below + ties / 2).mean() / len(ordered))


def draw_sheet(fakes: Tensor, train: Tensor, holdout: Tensor) -> np.ndarray:
    """Returns a sheet: in each row a generated image, then its nearest training images, then its nearest held-out ones.

    Args:
        fakes: uint8 (R, 3, H, W).
        train, holdout: uint8 (R, K, 3, H, W), nearest first.
    """
    gap = torch.full_like(fakes[:, None], 255)  # (R, 1, 3, H, W)
    rows = torch.cat([fakes[:, None], gap, train, gap, holdout], 1)  # (R, 2K + 3, 3, H, W)
    return make_grid(rows.flatten(0, 1), columns=rows.shape[1])
