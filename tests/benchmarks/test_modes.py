"""The benchmark of modes: what it counts, on generators whose modes are known."""

import math

import pytest
import torch
from torch import nn

from benchmarks.modes import GENERATED, VARIANTS, load_digits, measure, train, train_classifier


class Dealer(nn.Module):
    """Deals real digits, but for those classes that it leaves out of the first colour."""

    def __init__(self, left_out: int):
        super().__init__()
        self.digits, targets = load_digits()
        self.first = (targets >= left_out).nonzero().flatten()

    def forward(self, latents):
        rows = torch.randint(len(self.digits), (len(latents), 3))
        rows[:, 0] = self.first[torch.randint(len(self.first), (len(latents),))]
        return self.digits[rows].squeeze(2)


@pytest.fixture(scope="module")
def classifier():
    network, accuracy = train_classifier()
    assert accuracy > 0.97
    return network


def test_real_digits_have_every_mode_and_the_floors_divergence(classifier):
    torch.manual_seed(0)
    modes, kl, readable = measure(Dealer(left_out=0), classifier, 0)
    assert modes == 1000
    assert kl == pytest.approx(999 / 2 / GENERATED, abs=0.01)  # what chance alone gives
    assert readable > 0.98


def test_left_out_digits_are_missed(classifier):
    """Half of the modes, each twice as frequent: a divergence of log 2. The classifier errs now and then, so a few more."""
    torch.manual_seed(0)
    modes, kl, _ = measure(Dealer(left_out=5), classifier, 0)
    assert 500 <= modes < 900
    assert kl == pytest.approx(math.log(2), abs=0.1)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.title)
def test_every_game_is_played_alike_by_seed(variant):
    (first, _), (second, _), (other, _) = (train(variant, 512, seed) for seed in (0, 0, 1))
    weights = [torch.cat([value.flatten() for value in network.state_dict().values()]) for network in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
