"""Memorisation or imagination: does a generator replay its training images?

In: features (N, D) of generated, training and held-out images. Out: two shares with their confidence intervals, a verdict, and a
picture sheet of the nearest neighbours.

The verdict asks of every generated image whether its nearest real image is a training image or a held-out one. To a generator
that learned faces, and not those very photos, the two kinds are exchangeable, so training images come nearest as often as they
are many, however good or bad its images are. Shuffling which real images count as training ones tells how far chance reaches.
Before that the generated features are moved as a whole, to the mean of all the real ones: what noise or blur adds to every image
alike then hides no replay, and the two kinds stay exchangeable.

The other share compares distances: how often a generated image lies closer to its nearest training image than a held-out image
does, after Meehan, Chaudhuri and Dasgupta 2020, "A non-parametric test to detect data-copying in generative models". It needs
images of the same quality: noise on replayed images moves them away from everything and hides them, so it gives no verdict.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from facegan.common.pictures import make_grid
from facegan.scoring.distances import split_rows, sum_rows
from facegan.scoring.neighbourhoods import find_neighbours

RESAMPLES = 1000
CHANCE = 0.01  # how often a generator that memorises nothing may be accused
SHEET_PIXELS = 64
CAPTION_PIXELS = 16


@dataclasses.dataclass(frozen=True)
class Share:
    """A share of generated images, and between what bounds it lies with 95% confidence."""

    share: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """What a generator remembers.

    Attributes:
        detected: whether training images come nearest more often than chance explains.
        nearest_is_training: the share of generated images whose nearest real image is a training image.
        expected: that share for a generator that memorises nothing.
        chance: how often shuffled labels give that share or more.
        closer_than_holdout: the share of pairs in which the generated image is closer to a training image than the held-out one is.
        searched, holdout: how many training and held-out images there were.
    """

    detected: bool
    nearest_is_training: Share
    expected: float
    chance: float
    closer_than_holdout: Share
    searched: int
    holdout: int


def measure_memorisation(fake: Tensor, holdout: Tensor, train: Tensor, seed: int) -> Memorisation:
    """Returns what the generated features (M, D) remember of the training ones (T, D), with held-out ones (H, D) to compare."""
    random = np.random.default_rng(seed)
    hits = count_hits(fake, holdout, train)
    chance = np.mean([random.permutation(hits)[: len(train)].sum() >= hits[: len(train)].sum() for _ in range(RESAMPLES)])
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
    """Returns how often each real image (T + H,), the training ones first, is a generated image's nearest."""
    real_mean = (sum_rows(train) + sum_rows(holdout)) / (len(train) + len(holdout))
    move = real_mean - sum_rows(fake) / len(fake)
    hits = np.zeros(len(train) + len(holdout), dtype=np.int64)
    for rows in split_rows(fake):
        (train_distance, train_row), (holdout_distance, holdout_row) = (
            find_neighbours(rows.double() + move, images, 1) for images in (train, holdout)
        )
        nearest = torch.where(holdout_distance < train_distance, len(train) + holdout_row, train_row)  # (n, 1)
        hits += np.bincount(nearest.flatten().cpu().numpy(), minlength=len(hits))
    return hits


def measure_hits(hits: np.ndarray, training: int, random: np.random.Generator) -> Share:
    """Returns the share of hits on the first so many images. The bootstrap draws whole images with all their hits, since
    generated images that resemble each other share their nearest neighbour, and count little more than one.
    """
    places = hits.nonzero()[0]
    draws = (places[random.integers(len(places), size=len(places))] for _ in range(RESAMPLES))
    shares = [hits[draw[draw < training]].sum() / hits[draw].sum() for draw in draws]
    return Share(float(hits[:training].sum() / hits.sum()), *map(float, np.quantile(shares, [0.025, 0.975])))


def measure_closeness(fake: Tensor, holdout: Tensor, train: Tensor, random: np.random.Generator) -> Share:
    """Returns the share of pairs in which the generated image is the closer to a training image, bootstrapped over both kinds."""
    fakes, others = (find_neighbours(part, train, 1)[0].flatten().cpu().numpy() for part in (fake, holdout))

    def draw(values: np.ndarray) -> np.ndarray:
        return values[random.integers(len(values), size=len(values))]

    shares = [share_closer(draw(fakes), draw(others)) for _ in range(RESAMPLES)]
    return Share(share_closer(fakes, others), *map(float, np.quantile(shares, [0.025, 0.975])))


def share_closer(fake_distances: np.ndarray, holdout_distances: np.ndarray) -> float:
    """Returns the share of pairs whose generated distance is the smaller; a tie counts half."""
    ordered = np.sort(holdout_distances)
    below = len(ordered) - np.searchsorted(ordered, fake_distances, side="right")
    ties = np.searchsorted(ordered, fake_distances, side="right") - np.searchsorted(ordered, fake_distances, side="left")
    return float((below + ties / 2).mean() / len(ordered))


def draw_sheet(fakes: Tensor, train: Tensor, holdout: Tensor) -> np.ndarray:
    """Returns a picture (H, W, 3): in each row a generated image, its nearest training images, and its nearest held-out ones.

    Args:
        fakes: uint8 (R, 3, H, W).
        train, holdout: uint8 (R, K, 3, H, W), nearest first.
    """
    from PIL import Image, ImageDraw

    gap = torch.full_like(fakes[:, None], 255)  # (R, 1, 3, H, W)
    rows = torch.cat([fakes[:, None], gap, train, gap, holdout], 1)  # (R, columns, 3, H, W)
    size = SHEET_PIXELS * -(-rows.shape[-1] // SHEET_PIXELS)  # small images are enlarged, none is shrunk
    rows = rows.flatten(0, 1).repeat_interleave(size // rows.shape[-1], -1).repeat_interleave(size // rows.shape[-2], -2)
    faces = make_grid(rows, columns=3 + train.shape[1] + holdout.shape[1])
    sheet = Image.new("RGB", (faces.shape[1], faces.shape[0] + CAPTION_PIXELS), "white")
    sheet.paste(Image.fromarray(faces), (0, CAPTION_PIXELS))
    captions = {0: "generated", 2: "nearest training images", 3 + train.shape[1]: "nearest held-out images"}
    for column, caption in captions.items():
        ImageDraw.Draw(sheet).text((column * rows.shape[-1] + 2, 2), caption, fill="black")
    return np.asarray(sheet)
