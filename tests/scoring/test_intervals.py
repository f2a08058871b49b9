"""The intervals (±) contain what they promise: simulated scorings of a distribution whose distance is known."""

import math

import pytest
import torch

from facegan.scoring.distances import Gaussian, fit_gaussian, frechet_distance
from facegan.scoring.scores import jackknife, leave_out_of_frechet

SCORINGS, IMAGES, FEATURES = 200, 1000, 4


@pytest.fixture(scope="module")
def scorings():
    """Scores and interval widths of 200 sets of images from one distribution, and its true distance from the real images."""
    random = torch.Generator().manual_seed(11)
    deviations = torch.tensor([1.0, 0.8, 0.6, 0.5], dtype=torch.float64)

    def draw(count):
        return torch.randn(count, FEATURES, generator=random, dtype=torch.float64)

    real = draw(IMAGES)
    gaussian = fit_gaussian(real)
    known = frechet_distance(gaussian, Gaussian(torch.full((FEATURES,), 0.5, dtype=torch.float64), deviations.diag()))
    sets = [draw(IMAGES) * deviations + 0.5 for _ in range(SCORINGS)]
    scores = torch.tensor([frechet_distance(gaussian, fit_gaussian(fake)) for fake in sets])
    widths = torch.tensor([jackknife(leave_out_of_frechet(gaussian, fake)) for fake in sets])
    return scores, widths, known


def test_another_set_is_within_the_interval_in_95_of_100_cases(scorings):
    scores, widths, _ = scorings
    inside = (scores[:, None] - scores).abs() <= widths[:, None]
    share = (inside.sum().item() - SCORINGS) / (SCORINGS * (SCORINGS - 1))  # without pairs of a set with itself
    assert 0.93 <= share <= 0.97


def test_the_known_distance_is_within_the_interval_of_one_set_in_95_of_100_cases(scorings):
    """The interval is for the difference of two sets, so that of one set is narrower by √2."""
    scores, widths, known = scorings
    share = ((scores - known).abs() <= widths / math.sqrt(2)).double().mean().item()
    assert 0.93 <= share <= 0.97
