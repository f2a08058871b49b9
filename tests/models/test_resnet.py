"""The plain residual GAN: its size, its start as the identity, its scale, every resolution, its penalty."""

import pytest
import torch

from facegan.common.errors import FaceganError
from facegan.models.parameters import ResNetParameters
from facegan.models.resnet import Block, Discriminator, Generator, double_size, halve_size
from facegan.training.losses import squared_gradient_norms
from presets import read_preset


def make_parameters(width: int, grow_images: tuple[int, ...] = ()) -> ResNetParameters:
    return ResNetParameters(name="resnet", width=width, latent_size=64, grow_images=grow_images)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_images_begin_with_a_deviation_of_about_one():
    for resolution in (32, 64):
        images = Generator(make_parameters(64), resolution)(torch.randn(64, 64))
        assert 0.3 < images.std().item() < 1.2  # interpolation between pixels takes some of it


def randomize_blocks(network: torch.nn.Module) -> None:
    """Makes blocks differ from the identity."""
    for block in (module for module in network.modules() if isinstance(module, Block)):
        torch.nn.init.normal_(block.second.weight, 0, 0.1)


@pytest.mark.parametrize("growths", [1, 2, 3])
def test_networks_compute_the_same_before_and_after_they_grow(growths):
    parameters = make_parameters(32, tuple(range(growths)))
    generator, discriminator = Generator(parameters, 64), Discriminator(parameters, 64)
    randomize_blocks(generator)
    randomize_blocks(discriminator)
    latents, images = torch.randn(2, 64), torch.randn(2, 3, 64, 64)
    full, logits = generator(latents), discriminator(images)
    for growth in range(1, growths + 1):
        generator.size = 64 >> growth
        small = generator(latents)
        images = halve_size(images)
        assert small.shape == images.shape
        for _ in range(growth):
            small = double_size(small)
        assert torch.equal(small, full)
        assert torch.equal(discriminator(images), logits)


def test_penalty_is_the_same_before_and_after_the_discriminator_grows():
    discriminator = Discriminator(make_parameters(32, (100,)), 64)
    randomize_blocks(discriminator)
    large = torch.randn(2, 3, 64, 64).requires_grad_()
    small = halve_size(large.detach()).requires_grad_()
    squares = [squared_gradient_norms(discriminator(images), images) for images in (large, small)]
    torch.testing.assert_close(squares[0], squares[1] / 4)


def test_files_of_networks_that_do_not_grow_do_not_mention_it():
    assert "grow_images" not in make_parameters(32).model_dump()
    assert make_parameters(32, (8, 16)).model_dump(mode="json")["grow_images"] == [8, 16]


@pytest.mark.parametrize(("images", "problem"), [([16, 8], "do not decrease"), ([1, 2, 3, 4], "at most 3 numbers at 64 px")])
def test_growths_that_are_impossible_are_rejected(images, problem):
    with pytest.raises(FaceganError, match=rf"model\.grow_images: expected .*{problem}"):
        read_preset("demo", model={"grow_images": images})
