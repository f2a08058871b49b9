"""R3GAN: its size, its start as the identity, its filters, every resolution."""

import pytest
import torch

from facegan.models.r3gan import Block, Discriminator, Generator, R3GANParameters
from facegan.models.resampling import DoubleSize, HalveSize, Smooth


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_a_block_with_a_last_layer_keeps_the_deviation_before_it():
    """With one block the inner layers alone keep unit variance; with more, each begins smaller by the fourth root."""
    features = torch.randn(4, 64, 16, 16)
    for blocks in (1, 16):
        block = Block(64, blocks)
        inner = block.mix(torch.nn.functional.leaky_relu(block.widen(features), 0.2))[:, :, 1:-1, 1:-1]
        expected = blocks**-0.5 * (2 / 1.04) ** 0.5  # two layers, and what the next activation will take
        assert inner.square().mean().sqrt().item() == pytest.approx(expected, rel=0.15)


def test_variance_is_one_through_the_generators_depth():
    """On a smooth basis, so that the filters have nothing to smooth away; in the middle, away from the zeros outside."""
    generator = Generator(R3GANParameters(width=128, latent_size=64), 64)
    with torch.no_grad():
        generator.basis.copy_(generator.basis[:, :1, :1].expand_as(generator.basis).sign())
    seen = []
    for layer in (*generator.stages, generator.to_rgb):
        layer.register_forward_hook(lambda layer, inputs, result: seen.append(result))
    generator(torch.randn(8, 64))
    assert len(seen) == 6
    for features in seen:
        middle = features.shape[2] // 2
        assert features[:, :, middle, middle].square().mean().item() == pytest.approx(1, abs=0.25 if features.shape[1] > 3 else 0.6)


def test_variance_is_one_through_the_discriminators_depth():
    discriminator = Discriminator(R3GANParameters(width=128, latent_size=64), 64)
    seen = []
    for layer in discriminator.stages[:-2]:
        layer.register_forward_hook(lambda layer, inputs, result: seen.append(result))
    colors = torch.nn.functional.normalize(torch.randn(4, 3, 1, 1), dim=1) * 3**0.5
    discriminator(colors.expand(4, 3, 64, 64))
    for features in seen:
        middle = features.shape[2] // 2
        assert features[:, :, middle, middle].square().mean().item() == pytest.approx(1, abs=0.3)


def test_filters_are_the_convolutions_that_they_stand_for():
    features = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    line = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 8
    weights = torch.outer(line, line).expand(3, 1, 4, 4)
    functional = torch.nn.functional
    torch.testing.assert_close(HalveSize(12)(features), functional.conv2d(features, weights, stride=2, padding=1, groups=3))
    torch.testing.assert_close(DoubleSize(12)(features), functional.conv_transpose2d(features, 4 * weights, stride=2, padding=1, groups=3))
    for padding in (1, 2):
        torch.testing.assert_close(Smooth(12, padding)(features), functional.conv2d(features, weights, padding=padding, groups=3))
    assert HalveSize(12)(features.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


def test_filters_are_no_part_of_a_saved_network():
    assert DoubleSize(8).state_dict() == {}
    assert DoubleSize(8).to(torch.float64).matrix.dtype == torch.float64  # yet they move with it
