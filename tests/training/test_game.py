"""The losses of the game: each has gradients only for its own network, and the penalties have known values."""

import math

import pytest
import torch
from torch import nn

from facegan.models.network import DiscriminatorNetwork
from facegan.training.game import Game, Inputs, Values, View, discriminator_loss, generator_loss
from facegan.training.losses import OBJECTIVES

VIEW = View({}, ())


class Linear(DiscriminatorNetwork):
    """A linear discriminator: its gradient with respect to any image is its weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 2, 2))

    def forward(self, images, noise=(), labels=None):
        return (images * self.weight).sum((1, 2, 3))


class Quadratic(Linear):
    """Its gradient is the image times its weight, so that each image has its own penalty."""

    def forward(self, images, noise=(), labels=None):
        return (images.square() * self.weight).sum((1, 2, 3)) / 2


def make_game(objective="non_saturating", penalty="none", interval=1, stride=1, augment=lambda images, strength, numbers: images):
    return Game(OBJECTIVES[objective], penalty, interval, stride, augment, fresh_batch=False)


def make_values(gamma=0.0):
    return Values(torch.tensor(gamma), torch.tensor(0.0))


@pytest.fixture
def inputs():
    random = torch.Generator().manual_seed(0)
    real, fake = torch.randn(5, 3, 2, 2, generator=random), torch.randn(5, 3, 2, 2, generator=random)
    label_noise, share = torch.rand(5, 2, generator=random), torch.rand(5, 1, 1, 1, generator=random)
    return Inputs(real, torch.zeros(5, 0), torch.zeros(5, 1), (), fake, VIEW, VIEW, label_noise, share, VIEW)


def compute(network, game, inputs, gamma=0.0, penalize=True):
    inputs = inputs if game.objective.noisy else inputs._replace(label_noise=None)
    return discriminator_loss(network, game, make_values(gamma), penalize, inputs)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_loss_has_gradients_only_for_its_own_network(objective, inputs):
    generator, discriminator = nn.Linear(4, 12), Linear()
    inputs = inputs._replace(fake=generator(torch.randn(5, 4)).view(5, 3, 2, 2))
    compute(discriminator, make_game(objective), inputs, penalize=False).loss.backward()
    assert discriminator.weight.grad.any() and generator.weight.grad is None
    discriminator.weight.grad = None
    generator_loss(generator, discriminator, make_game(objective), make_values(), inputs).loss.backward()
    assert generator.weight.grad.any() and discriminator.weight.grad is None and discriminator.weight.requires_grad


NORMS = {"r1": lambda squared: squared / 2, "r1_r2": lambda squared: squared, "wgan_gp": lambda squared: (squared.sqrt() - 1).square()}


@pytest.mark.parametrize(("penalty", "norms"), NORMS.items(), ids=NORMS)
@pytest.mark.parametrize("interval", [1, 16])
def test_penalties_of_a_linear_discriminator_are_known(inputs, penalty, norms, interval):
    network, game = Linear(), make_game("hinge", penalty, interval)
    without, penalized = (compute(network, game, inputs, gamma=3.0, penalize=penalize).loss for penalize in (False, True))
    expected = 3.0 * interval * norms(network.weight.detach().square().sum())
    torch.testing.assert_close(penalized - without, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stride", "chosen"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4]), (5, [0])])
def test_every_nth_image_has_the_penalty(inputs, stride, chosen):
    network, game = Quadratic(), make_game("relativistic", "r1_r2", stride=stride)
    plain, penalized = compute(network, game, inputs, penalize=False), compute(network, game, inputs, gamma=3.0)
    squared = sum((kind[chosen] * network.weight.detach()).square().sum((1, 2, 3)).mean() for kind in (inputs.real, inputs.fake))
    torch.testing.assert_close(penalized.loss - plain.loss, 3.0 * squared / 2)
    torch.testing.assert_close(penalized.real_logits.sort().values, plain.real_logits.sort().values)
    pairs = [losses.real_logits - losses.fake_logits for losses in (penalized, plain)]
    torch.testing.assert_close(pairs[0].sort().values, pairs[1].sort().values)  # still the same pairs


def test_label_noise_follows_its_image(inputs):
    """With a stride, logits and noise have another order."""
    network = Linear()
    losses = [compute(network, make_game("noisy_labels", "r1", stride=stride), inputs).loss for stride in (1, 2)]
    torch.testing.assert_close(losses[1], losses[0])


def test_a_penalty_has_gradients(inputs):
    network = Linear()
    compute(network, make_game("wasserstein", "r1"), inputs, gamma=2.0).loss.backward()
    difference = (inputs.fake - inputs.real).mean(0)  # the Wasserstein loss's own gradient
    torch.testing.assert_close(network.weight.grad, difference + 2.0 * network.weight.detach())


def test_the_penalty_is_computed_on_images_before_augmentation(inputs):
    """Through a factor of 2 the gradient of D(augmented) with respect to the image is twice D's own."""
    network, game = Linear(), make_game("hinge", "r1", augment=lambda images, strength, numbers: 2 * images)
    losses = [compute(network, game, inputs, gamma=gamma).loss for gamma in (0.0, 1.0)]
    torch.testing.assert_close(losses[1] - losses[0], 4 * network.weight.detach().square().sum() / 2)


def test_both_losses_augment_real_and_generated_images(inputs):
    """If augmentation makes all images grey, nothing distinguishes them."""
    network, game = Linear(), make_game("relativistic", "r1_r2", augment=lambda images, strength, numbers: 0 * images)
    for losses in (compute(network, game, inputs, gamma=1.0), generator_loss(nn.Identity(), network, game, make_values(), inputs)):
        assert torch.equal(losses.real_logits, losses.fake_logits)
        assert losses.loss.item() == pytest.approx(math.log(2))
