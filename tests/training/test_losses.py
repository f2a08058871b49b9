"""Objectives and penalties against values computed independently."""

import math

import pytest
import torch

from facegan.training.losses import KERAS_LOGIT_LIMIT, OBJECTIVES, gradient_penalty, interpolate

REAL, FAKE = [2.0, -0.5, 0.25], [-1.0, 0.75, 3.0]


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def mean(values):
    return sum(values) / len(values)


def compute(name, real=REAL, fake=FAKE, noise=0.0):
    real, fake, objective = torch.tensor(real, dtype=torch.float64), torch.tensor(fake, dtype=torch.float64), OBJECTIVES[name]
    extra = (torch.as_tensor(noise, dtype=torch.float64).expand(len(real), 2),) if objective.noisy else ()
    return objective.discriminator(real, fake, *extra), objective.generator(real, fake)


CROSS_ENTROPY = -mean([math.log(sigmoid(t)) for t in REAL]) - mean([math.log(1 - sigmoid(t)) for t in FAKE])
EXPECTED = {
    "non_saturating": (CROSS_ENTROPY, -mean([math.log(sigmoid(t)) for t in FAKE])),
    "minimax": (CROSS_ENTROPY, mean([math.log(1 - sigmoid(t)) for t in FAKE])),
    "hinge": ((0 + 1.5 + 0.75) / 3 + (0 + 1.75 + 4) / 3, -2.75 / 3),
    "wasserstein": (2.75 / 3 - 1.75 / 3, -2.75 / 3),
    "relativistic": (
        mean([-math.log(sigmoid(r - f)) for r, f in zip(REAL, FAKE, strict=True)]),
        mean([-math.log(sigmoid(f - r)) for r, f in zip(REAL, FAKE, strict=True)]),
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_losses_are_their_equations(name):
    discriminator_loss, generator_loss = compute(name)
    assert discriminator_loss.item() == pytest.approx(EXPECTED[name][0], abs=1e-12)
    assert generator_loss.item() == pytest.approx(EXPECTED[name][1], abs=1e-12)


def test_noisy_labels_are_keras_cross_entropy():
    noise = torch.rand(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))  # of the fake and the real image of a pair
    loss, generator_loss = compute("noisy_labels", noise=noise)
    labels = [1 + 0.05 * noise[i, 0].item() for i in range(3)] + [0.05 * noise[i, 1].item() for i in range(3)]
    probabilities = [sigmoid(-t) for t in FAKE + REAL]  # of being fake, as in the tutorial
    expected = mean([-y * math.log(p) - (1 - y) * math.log(1 - p) for y, p in zip(labels, probabilities, strict=True)])
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert generator_loss.item() == pytest.approx(-mean([math.log(1 - sigmoid(-t)) for t in FAKE]), abs=1e-12)


def test_noisy_labels_stop_where_keras_clips():
    logits = torch.tensor([-KERAS_LOGIT_LIMIT - 0.1], requires_grad=True)
    OBJECTIVES["noisy_labels"].discriminator(torch.zeros(1), logits, torch.full((1, 2), 0.5)).backward()
    assert logits.grad.item() == 0  # a label above 1 would otherwise push it further and further
    assert sigmoid(-KERAS_LOGIT_LIMIT) == pytest.approx(1e-7, rel=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_losses_stay_finite_at_extreme_logits(name):
    assert all(torch.isfinite(loss) for loss in compute(name, real=[-1e4, 1e4], fake=[1e4, -1e4]))


def quadratic(factor):
    return lambda images: (factor * images.square()).sum((1, 2, 3)) / 2  # its gradient is factor · image


def test_penalty_around_one_has_a_finite_gradient_on_a_flat_function():
    factor = torch.tensor(0.0, requires_grad=True)
    gradient_penalty(quadratic(factor), torch.ones(2, 3, 2, 2), center=1).sum().backward()
    assert torch.isfinite(factor.grad)


def test_penalty_of_a_network_in_bfloat16_is_float32():
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LeakyReLU(0.2), torch.nn.Flatten(0))
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(lambda images: network(images).reshape(len(images), -1).sum(1), torch.randn(2, 3, 5, 5))
    penalty.sum().backward()
    assert penalty.dtype == torch.float32
    assert network[0].weight.grad.abs().sum() > 0


def test_interpolated_images_are_on_the_line():
    share = torch.rand(5, 1, 1, 1)
    assert torch.equal(interpolate(torch.zeros(5, 3, 2, 2), torch.ones(5, 3, 2, 2), share), share.expand(5, 3, 2, 2))
