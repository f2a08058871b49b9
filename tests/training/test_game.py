"""The game: a move changes its own network alone, and learns what it should."""

import pytest
import torch
from torch import nn

from facegan.training.augmentation import Augmentation
from facegan.training.game import Game, StepValues, discriminator_move, generator_move
from facegan.training.losses import OBJECTIVES


class Slope(nn.Module):
    """A linear discriminator: its gradient with respect to an image is its weight, whatever the image."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 2, 2))

    def forward(self, images):
        return (images * self.weight).sum((1, 2, 3))


def make_game(objective="non_saturating", penalty="none", interval=1, stride=1):
    return Game(OBJECTIVES[objective], penalty, interval, stride, Augmentation("none"), fresh_batch=False)


def make_values(gamma=0.0):
    return StepValues(torch.tensor(gamma), torch.tensor(0.0))


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_each_move_gives_gradients_to_its_own_network_only(objective):
    generator, discriminator = nn.Linear(4, 12), Slope()
    real, fake = torch.randn(5, 3, 2, 2), generator(torch.randn(5, 4)).view(5, 3, 2, 2)
    discriminator_move(discriminator, make_game(objective), make_values(), real, fake, penalize=False).loss.backward()
    assert discriminator.weight.grad.abs().sum() > 0
    assert generator.weight.grad is None
    discriminator.weight.grad = None
    generator_move(discriminator, make_game(objective), make_values(), real, fake).loss.backward()
    assert discriminator.weight.grad is None
    assert generator.weight.grad.abs().sum() > 0
    assert discriminator.weight.requires_grad


@pytest.mark.parametrize(
    ("penalty", "norms"),
    [
        ("r1", lambda squared: squared / 2),
        ("r1_r2", lambda squared: squared),
        ("wgan_gp", lambda squared: (squared.sqrt() - 1).square()),
    ],
)
@pytest.mark.parametrize("interval", [1, 16])
def test_penalties_of_a_linear_discriminator_are_known(images, penalty, norms, interval):
    network, values = Slope(), make_values(gamma=3.0)
    game = make_game("hinge", penalty, interval)
    without = discriminator_move(network, game, values, *images, penalize=False).loss
    penalized = discriminator_move(network, game, values, *images, penalize=True).loss
    expected = 3.0 * interval * norms(network.weight.detach().square().sum())
    torch.testing.assert_close(penalized - without, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("stride", "chosen"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (4, [0, 4]), (5, [0])])
def test_every_so_manieth_image_bears_the_penalty(images, stride, chosen):
    """A quadratic discriminator: its gradient is the image times its weights, so each image has a penalty of its own."""

    class Quadratic(Slope):
        def forward(self, images):
            return (images.square() * self.weight).sum((1, 2, 3)) / 2

    network, game = Quadratic(), make_game("relativistic", "r1_r2", stride=stride)
    plain = discriminator_move(network, game, make_values(), *images, penalize=False)
    penalized = discriminator_move(network, game, make_values(gamma=3.0), *images, penalize=True)
    squared = sum((kind[chosen] * network.weight.detach()).square().sum((1, 2, 3)).mean() for kind in images)
    torch.testing.assert_close(penalized.loss - plain.loss, 3.0 * squared / 2)
    torch.testing.assert_close(penalized.real_logits.sort().values, plain.real_logits.sort().values)
    pairs = [move.real_logits - move.fake_logits for move in (penalized, plain)]
    torch.testing.assert_close(pairs[0].sort().values, pairs[1].sort().values)  # still the same pairs


def test_a_penalty_can_be_learned_from(images):
    network = Slope()
    game = make_game("wasserstein", "r1")
    loss = discriminator_move(network, game, make_values(gamma=2.0), *images, penalize=True).loss
    loss.backward()
    difference = (images[1] - images[0]).mean(0)  # the Wasserstein loss's own gradient
    torch.testing.assert_close(network.weight.grad, difference + 2.0 * network.weight.detach())


def test_the_penalty_is_taken_on_images_before_their_augmentation(images):
    """Through a contrast of ×k the gradient of D(augmented) with respect to the image is k times D's own."""

    class Doubling(Augmentation):
        def __call__(self, images, strength):
            return 2 * images

    network = Slope()
    game = Game(OBJECTIVES["hinge"], "r1", 1, 1, Doubling("none"), False)
    loss = [discriminator_move(network, game, make_values(gamma), *images, penalize=True).loss for gamma in (0.0, 1.0)]
    torch.testing.assert_close(loss[1] - loss[0], 4 * network.weight.detach().square().sum() / 2)
