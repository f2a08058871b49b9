"""Schedules before, at and after their end; the automatic weight of a penalty."""

import pytest

from facegan.common.errors import FaceganError
from facegan.training.schedules import cosine, gamma_for, value_at


@pytest.mark.parametrize(("images_seen", "expected"), [(0, 2e-4), (500, 1.25e-4), (1000, 5e-5), (1001, 5e-5), (10**9, 5e-5)])
def test_pair_changes_from_start_to_end_and_stays_there(images_seen, expected):
    assert value_at((2e-4, 5e-5), images_seen, 1000) == pytest.approx(expected, rel=1e-12)


def test_cosine_is_monotonic_and_flat_at_both_ends():
    values = [cosine(0.0, 1.0, step, 1000) for step in range(1001)]
    assert values == sorted(values) and values[1] - values[0] < 1e-5 > values[1000] - values[999]
    assert values[250] == pytest.approx((1 - 0.5**0.5) / 2)


def test_number_is_constant():
    assert value_at(3, 0, None) == value_at(3.0, 10**9, 1000) == 3.0


def test_pair_without_an_end_is_rejected():
    with pytest.raises(FaceganError, match="schedule_images"):
        value_at((2.0, 0.2), 0, None)


@pytest.mark.parametrize(("resolution", "published"), [(64, (2, 0.2)), (256, (150, 15))])
def test_gamma_is_the_published_one(resolution, published):
    assert gamma_for(resolution, 70_000) == pytest.approx(published)
    assert gamma_for(resolution, 200_000) == pytest.approx(published)


def test_gamma_increases_with_resolution_and_for_small_data_sets():
    starts = [gamma_for(resolution, 70_000)[0] for resolution in (32, 64, 128, 256)]
    assert starts == sorted(starts)
    assert gamma_for(64, 17_500)[0] == pytest.approx(2 * starts[1])
    assert gamma_for(64, 4_375) == gamma_for(64, 100) == pytest.approx((8, 0.8))


def test_gamma_of_the_other_penalties():
    assert gamma_for(64, 1000, "r1", batch=32) == pytest.approx(0.0256)
    assert gamma_for(64, 1000, "wgan_gp") == 10
    assert gamma_for(64, 1000, "none") == 0
