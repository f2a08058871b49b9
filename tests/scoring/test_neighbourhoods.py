"""Precision, recall, density, coverage and nearest neighbours: known values, torch-fidelity, and tiles of any size."""

import pytest
import torch
from references import draw
from torch.utils._python_dispatch import TorchDispatchMode
from torch_fidelity.metric_prc import calculate_precision_recall_full

from facegan.common.errors import FaceganError
from facegan.scoring import distances, protocol
from facegan.scoring.memorisation import measure_memorisation
from facegan.scoring.neighbourhoods import NEIGHBOURS, compare_neighbourhoods, find_neighbours, measure_radii
from facegan.scoring.scores import compare, estimate_intervals


def measure(real, fake, neighbours=NEIGHBOURS):
    return {name: value.item() for name, value in compare_neighbourhoods(real, fake, neighbours=neighbours).items()}


def test_precision_and_recall_on_a_line():
    real, fake = torch.arange(10.0)[:, None], torch.tensor([[0.5], [4.5], [30.0], [31.0], [60.0]])
    found = measure(real, fake, neighbours=(1, 1))
    assert found["precision"] == 2 / 5  # real radii are 1: 0.5 and 4.5 are inside
    assert found["recall"] == 0.9  # generated radii: 4 around 0.5 and 4.5, 29 around 60; only 9 is outside


def test_density_and_coverage_on_a_line():
    found = measure(torch.arange(10.0)[:, None], torch.tensor([[0.5], [0.5], [4.5], [-1.0]]), neighbours=(1, 1))  # -1: at the border
    assert found["density"] == (2 + 2 + 2) / 4
    assert found["coverage"] == 4 / 10


def test_precision_and_recall_match_torch_fidelity():
    real, fake = draw(200, 5), draw(150, 5, seed=1, scale=0.7)
    found = measure(real, fake)
    assert (found["precision"], found["recall"]) == pytest.approx(calculate_precision_recall_full(fake, real, neighborhood=3), rel=1e-6)


def test_too_few_images_are_rejected():
    with pytest.raises(FaceganError, match="more than 3 images"):
        measure_radii(torch.zeros(3, 3), torch.ones(1, 3, dtype=torch.bool), 3)


def compare_plainly(real, fake):
    """Computes the scores from full distance matrices."""
    between, within_real, within_fake = torch.cdist(real, fake), torch.cdist(real, real), torch.cdist(fake, fake)
    near, far = (within_real.kthvalue(count + 1, 1).values[:, None] for count in (3, 5))
    return {
        "precision": (between <= near).any(0).double().mean().item(),
        "recall": (between <= within_fake.kthvalue(4, 1).values).any(1).double().mean().item(),
        "density": (between < far).sum(0).double().mean().item() / 5,
        "coverage": (between < far).any(1).double().mean().item(),
    }


@pytest.mark.parametrize("tile", [3, 7, 60, 2048])
def test_tile_size_does_not_change_results(monkeypatch, tile):
    monkeypatch.setattr(distances, "TILE", tile)
    real, fake = draw(60, 5), draw(47, 5, seed=1, scale=1.2)
    assert measure(real, fake) == pytest.approx(compare_plainly(real, fake), rel=1e-12)
    kept = torch.arange(47) % 5 != torch.arange(5)[:, None]
    parts = compare_neighbourhoods(real, fake, kept)
    for number, part in enumerate(kept):
        found = {name: values[number].item() for name, values in parts.items()}
        assert found == pytest.approx(compare_plainly(real, fake[part]), rel=1e-12)
    found, rows = find_neighbours(fake, real, 9)
    expected = torch.cdist(fake, real).topk(9, largest=False)
    assert torch.equal(rows, expected.indices)
    torch.testing.assert_close(found, expected.values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("tile", [3, 7, 60])
def test_tile_size_does_not_change_the_memorisation_test(monkeypatch, tile):
    fake, holdout, train = (draw(50, 5, seed=seed) for seed in range(3))
    mixed = torch.cat([fake[:25], train[:25] + 1e-3])
    expected = measure_memorisation(mixed, holdout, train, seed=0)
    monkeypatch.setattr(distances, "TILE", tile)
    assert measure_memorisation(mixed, holdout, train, seed=0) == expected


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor returned by any operation."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [part for part in (result if isinstance(result, tuple | list) else [result]) if isinstance(part, torch.Tensor)]
        self.numbers = max([self.numbers, *(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in tensors)])
        return result


def test_no_score_allocates_the_full_distance_matrix(monkeypatch):
    """Between 1,500 and 2,000 images there are 3 million distances; a tile has 16,384."""
    monkeypatch.setattr(distances, "TILE", 128)
    monkeypatch.setattr(protocol, "KERNEL_SUBSETS", 1)
    fake, real, holdout = (draw(count, 4, seed=count).float() for count in (1500, 2000, 200))
    monkeypatch.setattr(protocol, "KERNEL_SUBSET_IMAGES", 100)
    with LargestTensor() as largest:
        compare(real, fake, "x", classifier=torch.ones(10, 4))
        estimate_intervals(real, fake, "x")
        measure_memorisation(fake, holdout, real, seed=0)
    assert 128 * 128 <= largest.numbers <= 10 * 2000 * 4
