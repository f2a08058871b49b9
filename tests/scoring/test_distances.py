"""Known answers of the distances, from closed forms and by counting."""

import math

import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from facegan.common.errors import FaceganError
from facegan.scoring import distances as scores


def draw(count, dimensions, seed=0, scale=1.0, shift=0.0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimensions, generator=random, dtype=torch.float64) * scale + shift


def gaussian(mean, covariance):
    return scores.Gaussian(torch.as_tensor(mean, dtype=torch.float64), scores.take_root(torch.as_tensor(covariance, dtype=torch.float64)))


def distance(first, second):
    return scores.frechet_distance(scores.fit_gaussian(first), scores.fit_gaussian(second))


def random_covariance(dimensions, seed):
    root = draw(dimensions, 2 * dimensions, seed)
    return root @ root.T / dimensions


def test_equal_covariances_leave_the_squared_shift():
    covariance = random_covariance(8, 1)
    assert scores.frechet_distance(gaussian([0.0] * 8, covariance), gaussian([3.0, 4.0] + [0.0] * 6, covariance)) == pytest.approx(
        25, rel=1e-12
    )


def test_diagonal_covariances_have_a_closed_form():
    first, second = torch.tensor([1.0, 4.0, 9.0, 0.0]), torch.tensor([16.0, 4.0, 0.0, 0.0])
    expected = sum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in zip(first.tolist(), second.tolist(), strict=True)) + 4
    assert scores.frechet_distance(gaussian([0.0] * 4, first.diag()), gaussian([1.0] * 4, second.diag())) == pytest.approx(
        expected, rel=1e-12
    )


def test_covariances_that_do_not_commute_have_a_closed_form_in_two_dimensions():
    first, second = random_covariance(2, 1), random_covariance(2, 2)
    product = first @ second  # tr √M = √(tr M + 2 √det M) for a 2×2 matrix
    expected = first.trace() + second.trace() - 2 * torch.sqrt(product.trace() + 2 * product.det().sqrt())
    assert scores.frechet_distance(gaussian([0.0] * 2, first), gaussian([0.0] * 2, second)) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("count", [2, 5, 16, 17, 100])
def test_moments_are_those_of_numpy(count):
    features = draw(count, 16, shift=3.0)
    fitted = scores.fit_gaussian(features)
    np.testing.assert_allclose(fitted.mean, features.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(fitted.root @ fitted.root.T, np.cov(features.numpy(), rowvar=False), atol=1e-13)


@pytest.mark.parametrize(("count", "dimensions"), [(100, 8), (8, 100), (2, 3)])
def test_equal_sets_and_permutations_lie_at_zero(count, dimensions):
    features = draw(count, dimensions, shift=5.0)
    assert distance(features, features) < 1e-10 * features.square().sum().item() / count
    assert distance(features, features.flip(0)) < 1e-10 * features.square().sum().item() / count


@pytest.mark.parametrize("count", [6, 40])
def test_fewer_images_than_features_change_nothing_but_the_rank(count):
    few = draw(count, 10)
    padded = torch.cat([few, torch.zeros(count, 90, dtype=torch.float64)], 1)  # N < D, and the covariance is of rank N - 1 or 10
    other = draw(count, 10, seed=1)
    padded_other = torch.cat([other, torch.zeros(count, 90, dtype=torch.float64)], 1)
    assert distance(padded, padded_other) == pytest.approx(distance(few, other), rel=1e-10)


def test_rotations_change_nothing():
    first, second = draw(30, 12), draw(30, 12, seed=1, scale=2.0)
    rotation = torch.linalg.qr(draw(12, 12, seed=2))[0]
    assert distance(first @ rotation, second @ rotation) == pytest.approx(distance(first, second), rel=1e-11)


def test_orthogonal_supports_share_nothing():
    first, second = torch.zeros(20, 6, dtype=torch.float64), torch.zeros(20, 6, dtype=torch.float64)
    first[:, :3], second[:, 3:] = draw(20, 3), draw(20, 3, seed=1)
    spread = sum(features.var(0).sum() for features in (first, second)) + (first.mean(0) - second.mean(0)).square().sum()
    assert distance(first, second) == pytest.approx(spread.item(), rel=1e-12)


def test_one_image_repeated_is_a_point():
    point, cloud = torch.full((50, 4), 2.0, dtype=torch.float64), draw(50, 4)
    expected = (cloud.mean(0) - 2).square().sum() + cloud.var(0).sum()
    assert distance(point, cloud) == pytest.approx(expected.item(), rel=1e-12)
    assert distance(point, point + 3) == pytest.approx(36, rel=1e-12)


def test_many_images_come_near_the_true_distance():
    assert distance(draw(20_000, 4), draw(20_000, 4, seed=1, scale=2.0, shift=1.0)) == pytest.approx(4 * (1 + 1), rel=0.03)


def test_single_precision_features_are_scored_in_double():
    first, second = draw(300, 20, shift=100.0).float(), draw(300, 20, seed=1, shift=100.0).float()
    assert distance(first, second) == pytest.approx(distance(first.double(), second.double()), rel=1e-12)


@pytest.mark.parametrize("features", [torch.zeros(1, 4), torch.zeros(4), torch.tensor([[1.0], [float("nan")]])])
def test_what_has_no_covariance_is_refused(features):
    with pytest.raises(FaceganError, match="expected"):
        scores.fit_gaussian(features)


def test_kernel_distance_by_hand():
    first, second = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [3.0]])  # (xy + 1)³: within 27 and 1, between 1, 64, 1, 343
    assert scores.kernel_distance(first, second) == pytest.approx(27 + 1 - 2 * (1 + 64 + 1 + 343) / 4, rel=1e-14)


def test_kernel_distance_is_that_of_torch_fidelity_on_equal_subsets():
    first, second = draw(400, 32, shift=0.2).float(), draw(300, 32, seed=1).float()
    theirs = kid_features_to_metric(first.double(), second.double(), kid_subsets=20, kid_subset_size=150, rng_seed=7, verbose=False)
    mean, deviation = scores.kernel_distance_over_subsets(first, second, subsets=20, size=150, seed=7)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


@pytest.mark.parametrize("tile", [1, 7, 40, 2048])
def test_tiles_change_no_number(monkeypatch, tile):
    first, second = draw(40, 6), draw(33, 6, seed=1, shift=0.3)
    kept = torch.arange(33) % 4 != torch.arange(4)[:, None]
    expected = [scores.kernel_distance(first, second[part]) for part in kept]
    kernels = (first @ second.T / 6 + 1) ** 3, (first @ first.T / 6 + 1) ** 3, (second @ second.T / 6 + 1) ** 3
    sums = [kernels[1].fill_diagonal_(0).sum() / (40 * 39), kernels[2].fill_diagonal_(0).sum() / (33 * 32), 2 * kernels[0].mean()]
    gaussian = scores.fit_gaussian(first)
    monkeypatch.setattr(scores, "TILE", tile)
    assert scores.kernel_distance(first, second) == pytest.approx((sums[0] + sums[1] - sums[2]).item(), rel=1e-12)
    assert scores.kernel_distances(first, second, kept).tolist() == pytest.approx(expected, rel=1e-12)
    tiled = scores.fit_gaussian(first)
    torch.testing.assert_close(tiled.mean, gaussian.mean, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(tiled.root @ tiled.root.T, gaussian.root @ gaussian.root.T, rtol=1e-12, atol=1e-13)


def test_tiles_cover_every_pair_once(monkeypatch):
    monkeypatch.setattr(scores, "TILE", 3)
    counts = torch.zeros(7, 5, dtype=torch.float64)
    for rows, columns, tile in scores.split_pairs(torch.ones(7, 2), torch.ones(5, 2), lambda above, left: (above @ left.T) / 2):
        counts[rows, columns] += tile
    assert torch.equal(counts, torch.ones(7, 5, dtype=torch.float64))


def test_kernel_distance_has_no_bias():
    distances = [scores.kernel_distance(draw(40, 3, seed=seed), draw(40, 3, seed=1000 + seed)) for seed in range(200)]
    assert abs(np.mean(distances)) < 4 * np.std(distances) / math.sqrt(200)


def test_inception_score_between_its_ends():
    certain = torch.eye(10).repeat(10, 1) * 1000
    assert scores.inception_score(certain)[0] == pytest.approx(10)  # every class once in each split
    assert scores.inception_score(torch.zeros(50, 10))[0] == pytest.approx(1)


def test_inception_score_is_that_of_torch_fidelity():
    logits = draw(103, 12, scale=3.0).float()
    theirs = isc_features_to_metric(logits, splits=10, shuffle=False)
    assert scores.inception_score(logits) == pytest.approx(tuple(theirs.values()), rel=1e-9)
