"""The table of degradations: what they do to known images, and how far a score has moved."""

import numpy as np
import pytest
import torch

from benchmarks.degradations import (
    OTHERS,
    REAL,
    REPEATED,
    DataSet,
    Features,
    blur,
    choose_rows,
    compare_with_floor,
    list_degradations,
    mirror_halves,
    sliced_wasserstein,
    smear_eyes,
    swap_halves,
)


@pytest.fixture
def images():
    return torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_every_degradation_changes_the_images_and_keeps_their_form(images):
    for name, degrade in list_degradations(eyes=(26, 38, 16, 48)).items():
        result = degrade(images)
        assert (result.shape, result.dtype) == (images.shape, torch.uint8), name
        assert not torch.equal(result, images) and torch.equal(result, degrade(images)), name


def test_halves_are_swapped_and_mirrored(images):
    swapped = swap_halves(images)
    assert torch.equal(swapped[1, :, :32], images[1, :, :32]) and torch.equal(swapped[1, :, 32:], images[0, :, 32:])
    mirrored = mirror_halves(images)
    assert torch.equal(mirrored[..., 0], images[..., 31]) and torch.equal(mirrored[..., 63], images[..., 32])
    assert torch.equal(mirror_halves(mirrored), images)


def test_only_the_eyes_are_smeared(images):
    changed = (smear_eyes(images, (26, 38, 16, 48)) != images).any(0).any(0)
    assert changed[26:38, 16:48].any() and not changed[:26].any() and not changed[:, 48:].any()


def test_a_constant_image_is_not_changed_by_blur():
    images = torch.full((1, 3, 64, 64), 77, dtype=torch.uint8)
    assert torch.equal(blur(images, 16), images)


def test_groups_are_left_out_and_images_repeated():
    members = np.arange(REAL + OTHERS) % 4 == 0
    choices = choose_rows(DataSet("x", torch.empty(0), {"fourth missing": members}, (0, 0, 0, 0)), 400)
    rows = torch.arange(400, 800)
    assert set(choices[f"{REPEATED} images repeated"](rows).tolist()) == set(range(400, 400 + REPEATED))
    kept = choices["fourth missing"](rows)
    assert len(kept) == 400 and not members[REAL:][kept].any()


def test_distance_from_the_floor_is_that_of_the_same_images_in_spreads():
    floor = [{"fd": 10.0}, {"fd": 12.0}, {"fd": 14.0}]  # standard deviation 2
    assert compare_with_floor([{"fd": 16.0}], floor, "fd") == 3


def test_sliced_wasserstein_distance_of_shifted_sets():
    first = torch.randn(500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert sliced_wasserstein(first, first.flip(0)) == 0
    assert sliced_wasserstein(first, first + torch.tensor([2.0, 0, 0])) == pytest.approx(4, rel=0.15)  # the squared shift


def test_features_are_computed_once_and_extended(tmp_path):
    calls = []

    def compute(images):
        calls.append(len(images))
        return images.double()

    data = torch.arange(10.0)[:, None]
    for count in (4, 4, 10, 2):
        features = Features(tmp_path, "space", compute)("name", lambda: data, count)
        assert torch.equal(features, data[:count].double())
    assert calls == [4, 6]
