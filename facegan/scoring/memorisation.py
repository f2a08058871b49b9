"""Memorisation test: does a generator reproduce its training images?

Input: features (N, D) of generated, training and held-out images. Output: two shares with confidence intervals, a verdict, and an image
sheet of the nearest neighbours.

The verdict is based on whether each generated image's nearest real image is a training image or a held-out one. If nothing was
memorised, the two kinds are exchangeable: the nearest image is a training image as often as training images occur among the real images,
whatever the quality of the generated images. Random permutations of the labels (training or held-out) give the p-value. Beforehand, all
generated features are shifted so that their mean equals that of the real features. Noise or blur common to all generated images then cannot
hide memorisation, and the two kinds remain exchangeable.

The other share compares distances: how often a generated image is closer to its nearest training image than a held-out image is (Meehan,
Chaudhuri and Dasgupta 2020, "A non-parametric test to detect data-copying in generative models"). It assumes images of equal quality:
noise on reproduced images moves them away from all real images and hides them. Therefore it is not part of the verdict.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from facegan.common.pictures import make_grid
from facegan.scoring.distances import split_rows, sum_rows
from facegan.scoring.neighbourhoods import find_neighbours

RESAMPLES = 1000
CHANCE = 0.01  # the significance level: the probability of a false alarm
SHEET_PIXELS = 64
CAPTION_PIXELS = 16


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of the generated images, with its 95% confidence interval."""

    share: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """The result of the memorisation test.

    Attributes:
        detected: whether training images are the nearest significantly more often than by chance.
        nearest_is_training: the share of generated images whose nearest real image is a training image.
        expected: that share if nothing was memorised.
        chance: the p-value: the probability that random labels reach this share.
        closer_than_holdout: the share of pairs in which the generated image is closer to a training image than the held-out one is.
        searched, holdout: the numbers of training and held-out images.
    """

    detected: bool
    nearest_is_training: Share
    expected: float
    chance: float
    closer_than_holdout: Share
    searched: int
    holdout: int


def measure_memorisation(fake: Tensor, holdout: Tensor, train: Tensor, seed: int) -> Memorisation:
    """Tests generated features (M, D) against training features (T, D), with held-out ones (H, D) for comparison."""
    random = np.random.default_rng(seed)
    hits = count_hits(fake, holdout, train)
    reached = sum(random.permutation(hits)[: len(train)].sum() >= hits[: len(train)].sum() for _ in range(RESAMPLES))
    chance = (reached + 1) / (RESAMPLES + 1)  # the observed labels are one of the permutations, so never zero
    return Memorisation(
        detected=bool(chance < CHANCE),
        nearest_is_training=measure_hits(hits, len(train), random),
        expected=len(train) / len(hits),
        chance=float(chance),
        closer_than_holdout=measure_closeness(fake, holdout, train, random),
        searched=len(train),
        holdout=len(holdout),
    )


def count_hits(fake: Tensor, holdout: Tensor, train: Tensor) -> np.ndarray:
    """Returns how often each real image (T + H,), training images first, is the nearest to a generated image."""
    real_mean = (sum_rows(train) + sum_rows(holdout)) / (len(train) + len(holdout))
    shift = real_mean - sum_rows(fake) / len(fake)
    hits = np.zeros(len(train) + len(holdout), dtype=np.int64)
    for rows in split_rows(fake):
        (train_distance, train_row), (holdout_distance, holdout_row) = (
            find_neighbours(rows.double() + shift, images, 1) for images in (train, holdout)
        )
        nearest = torch.where(holdout_distance < train_distance, len(train) + holdout_row, train_row)  # (n, 1)
        hits += np.bincount(nearest.flatten().cpu().numpy(), minlength=len(hits))
    return hits


def measure_hits(hits: np.ndarray, training: int, random: np.random.Generator) -> Share:
    """Returns the share of hits on the training images, the first ``training`` ones.

    The bootstrap resamples real images together with all their hits: similar generated images share a nearest neighbour, and so are not
    independent.
    """
    rows = hits.nonzero()[0]
    draws = (rows[random.integers(len(rows), size=len(rows))] for _ in range(RESAMPLES))
    return make_share(hits[:training].sum() / hits.sum(), (hits[draw[draw < training]].sum() / hits[draw].sum() for draw in draws))


def measure_closeness(fake: Tensor, holdout: Tensor, train: Tensor, random: np.random.Generator) -> Share:
    """Returns the share of pairs in which the generated image is closer to a training image, bootstrapped over both kinds."""
    fakes, others = (find_neighbours(part, train, 1)[0].flatten().cpu().numpy() for part in (fake, holdout))

    def draw(values: np.ndarray) -> np.ndarray:
        return values[random.integers(len(values), size=len(values))]

    return make_share(share_closer(fakes, others), (share_closer(draw(fakes), draw(others)) for _ in range(RESAMPLES)))


def make_share(share: float, resampled: Iterable[float]) -> Share:
    """Returns a share with the interval given by its bootstrap samples."""
    low, high = np.quantile(list(resampled), [0.025, 0.975])
    return Share(float(share), float(low), float(high))


def share_closer(fake_distances: np.ndarray, holdout_distances: np.ndarray) -> float:
    """Returns the share of pairs in which the generated image's distance is smaller; a tie counts half."""
    ordered = np.sort(holdout_distances)
    below = len(ordered) - np.searchsorted(ordered, fake_distances, side="right")
    ties = np.searchsorted(ordered, fake_distances, side="right") - np.searchsorted(ordered, fake_distances, side="left")
    return float((below + ties / 2).mean() / len(ordered))


def draw_sheet(fakes: Tensor, train: Tensor, holdout: Tensor) -> np.ndarray:
    """Returns an image (H, W, 3): each row shows a generated image, its nearest training images, and its nearest held-out images.

    Args:
        fakes: uint8 (R, 3, H, W).
        train, holdout: uint8 (R, K, 3, H, W), nearest first.
    """
    from PIL import Image, ImageDraw

    gap = torch.full_like(fakes[:, None], 255)  # (R, 1, 3, H, W)
    rows = torch.cat([fakes[:, None], gap, train, gap, holdout], 1)  # (R, columns, 3, H, W)
    size = SHEET_PIXELS * -(-rows.shape[-1] // SHEET_PIXELS)  # enlarges small images, reduces none
    rows = rows.flatten(0, 1).repeat_interleave(size // rows.shape[-1], -1).repeat_interleave(size // rows.shape[-2], -2)
    faces = make_grid(rows, columns=3 + train.shape[1] + holdout.shape[1])
    sheet = Image.new("RGB", (faces.shape[1], faces.shape[0] + CAPTION_PIXELS), "white")
    sheet.paste(Image.fromarray(faces), (0, CAPTION_PIXELS))
    captions = {0: "generated", 2: "nearest training images", 3 + train.shape[1]: "nearest held-out images"}
    for column, caption in captions.items():
        ImageDraw.Draw(sheet).text((column * rows.shape[-1] + 2, 2), caption, fill="black")
    return np.asarray(sheet)
