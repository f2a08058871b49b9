"""Known values of the distances, from closed forms and from torch-fidelity."""

import numpy as np
import pytest
import torch
from references import draw
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from facegan.common.errors import FaceganError
from facegan.scoring import distances as scores


def frechet(means, covariances):
    """Returns the distance between two normal distributions."""
    means, covariances = (torch.as_tensor(values, dtype=torch.float64) for values in (means, torch.stack(covariances)))
    return scores.frechet_distance(*(scores.Gaussian(*part) for part in zip(means, map(scores.take_root, covariances), strict=True)))


def distance(first, second):
    return scores.frechet_distance(scores.fit_gaussian(first), scores.fit_gaussian(second))


def random_covariance(dimensions, seed):
    root = draw(dimensions, 2 * dimensions, seed)
    return root @ root.T / dimensions


def test_distance_with_equal_covariances():
    covariance = random_covariance(8, 1)
    assert frechet([[0.0] * 8, [3.0, 4.0] + [0.0] * 6], [covariance, covariance]) == pytest.approx(25, rel=1e-12)


def test_distance_with_diagonal_covariances():
    first, second = torch.tensor([1.0, 4.0, 9.0, 0.0]), torch.tensor([16.0, 4.0, 0.0, 0.0])
    expected = (first.sqrt() - second.sqrt()).square().sum().item() + 4
    assert frechet([[0.0] * 4, [1.0] * 4], [first.diag(), second.diag()]) == pytest.approx(expected, rel=1e-12)


def test_distance_with_covariances_that_do_not_commute():
    first, second = random_covariance(2, 1), random_covariance(2, 2)
    product = first @ second  # tr √M = √(tr M + 2 √det M) for a 2×2 matrix
    expected = first.trace() + second.trace() - 2 * torch.sqrt(product.trace() + 2 * product.det().sqrt())
    assert frechet([[0.0] * 2, [0.0] * 2], [first, second]) == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("count", [2, 5, 16, 17, 100])
def test_moments_match_numpy(count):
    features = draw(count, 16, shift=3.0)
    fitted = scores.fit_gaussian(features)
    np.testing.assert_allclose(fitted.mean, features.numpy().mean(0), rtol=1e-13)
    np.testing.assert_allclose(fitted.root @ fitted.root.T, np.cov(features.numpy(), rowvar=False), atol=1e-13)


@pytest.mark.parametrize(("count", "dimensions"), [(100, 8), (8, 100), (2, 3)])
def test_distance_of_equal_sets_is_zero(count, dimensions):
    features = draw(count, dimensions, shift=5.0)
    for same in (features, features.flip(0)):
        assert distance(features, same) < 1e-10 * features.square().sum().item() / count


@pytest.mark.parametrize("count", [6, 40])
def test_constant_features_do_not_change_the_distance(count):
    first, second = draw(count, 10), draw(count, 10, seed=1)
    padded = [torch.cat([part, torch.zeros(count, 90, dtype=torch.float64)], 1) for part in (first, second)]  # N < D: rank-deficient
    assert distance(*padded) == pytest.approx(distance(first, second), rel=1e-10)


def test_single_precision_features_are_scored_in_double_precision():
    first, second = draw(300, 20, shift=100.0).float(), draw(300, 20, seed=1, shift=100.0).float()
    assert distance(first, second) == pytest.approx(distance(first.double(), second.double()), rel=1e-12)


@pytest.mark.parametrize("features", [torch.zeros(1, 4), torch.zeros(4), torch.tensor([[1.0], [float("nan")]])])
def test_invalid_features_are_rejected(features):
    with pytest.raises(FaceganError, match="expected"):
        scores.fit_gaussian(features)


def test_kernel_distance_of_two_pairs():
    first, second = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [3.0]])  # (xy + 1)³: within 27 and 1, between 1, 64, 1, 343
    assert scores.kernel_distance(first, second) == pytest.approx(27 + 1 - 2 * (1 + 64 + 1 + 343) / 4, rel=1e-14)


@pytest.mark.parametrize("size", [150, 20])  # one kernel for all subsets, and one for each
def test_kernel_distance_matches_torch_fidelity(size):
    first, second = draw(400, 32, shift=0.2).float(), draw(300, 32, seed=1).float()
    theirs = kid_features_to_metric(first.double(), second.double(), kid_subsets=20, kid_subset_size=size, rng_seed=7, verbose=False)
    mean, deviation = scores.kernel_distance_over_subsets(first, second, subsets=20, size=size, seed=7)
    assert mean == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert deviation == pytest.approx(theirs["kernel_inception_distance_std"], rel=1e-9)


@pytest.mark.parametrize("tile", [1, 7, 40, 2048])
def test_tile_size_does_not_change_results(monkeypatch, tile):
    first, second = draw(40, 6), draw(33, 6, seed=1, shift=0.3)
    kept = torch.arange(33) % 4 != torch.arange(4)[:, None]
    expected = [scores.kernel_distance(first, second[part]) for part in kept]
    between, within_first, within_second = ((x @ y.T / 6 + 1) ** 3 for x, y in ((first, second), (first, first), (second, second)))
    means = within_first.fill_diagonal_(0).sum() / (40 * 39), within_second.fill_diagonal_(0).sum() / (33 * 32), between.mean()
    gaussian = scores.fit_gaussian(first)
    monkeypatch.setattr(scores, "TILE", tile)
    assert scores.kernel_distance(first, second) == pytest.approx((means[0] + means[1] - 2 * means[2]).item(), rel=1e-12)
    assert scores.kernel_distances(first, second, kept).tolist() == pytest.approx(expected, rel=1e-12)
    tiled = scores.fit_gaussian(first)
    torch.testing.assert_close(tiled.mean, gaussian.mean, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(tiled.root @ tiled.root.T, gaussian.root @ gaussian.root.T, rtol=1e-12, atol=1e-13)


def test_inception_score_of_certain_and_of_uncertain_predictions():
    assert scores.inception_score(torch.eye(10).repeat(10, 1) * 1000)[0] == pytest.approx(10)  # every class once per split
    assert scores.inception_score(torch.zeros(50, 10))[0] == pytest.approx(1)


def test_inception_score_matches_torch_fidelity():
    logits = draw(103, 12, scale=3.0).float()
    theirs = isc_features_to_metric(logits, splits=10, shuffle=False)
    assert scores.inception_score(logits) == pytest.approx(tuple(theirs.values()), rel=1e-9)
