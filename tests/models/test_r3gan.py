"""R3GAN: its size, its start as the identity, its filters, every resolution."""

import pytest
import torch

from facegan.common.errors import FaceganError
from facegan.models.r3gan import Block, Discriminator, Generator, R3GANParameters, stage_widths
from facegan.models.registry import count_parameters
from facegan.models.resampling import DoubleSize, HalveSize, Smooth
from facegan.training.losses import squared_gradient_norms


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def count_block(width: int) -> int:
    """Returns a block's weights: two pointwise convolutions, one of 16 channels a group, two biases."""
    return 2 * (width * 2 * width) + 2 * width * 16 * 9 + 2 * (2 * width)


def test_the_papers_networks_have_22_million_parameters():
    """At 64 px: five stages of two blocks, one change of width, and the ends."""
    arguments = R3GANParameters(width=768, latent_size=64)
    trunk = 8 * count_block(768) + 2 * count_block(384) + 768 * 384
    generator = trunk + 768 * 4 * 4 + 64 * 768 + 384 * 3
    discriminator = trunk + 3 * 384 + 768 * 4 * 4 + 768
    assert count_parameters(Generator(arguments, 64)) == generator == 22_429_824
    assert count_parameters(Discriminator(arguments, 64)) == discriminator == 22_381_440


@pytest.mark.parametrize(("width", "millions"), [(256, 2.95), (384, 6.1), (512, 10.4)])
def test_smaller_widths_have_the_known_sizes(width, millions):
    assert count_parameters(Generator(R3GANParameters(width=width, latent_size=64), 64)) / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("network", [Generator, Discriminator])
def test_every_block_is_the_identity_when_training_begins(network):
    for block in (module for module in network(R3GANParameters(width=32, latent_size=16), 128).modules() if isinstance(module, Block)):
        features = torch.randn(2, block.narrow.out_channels, 8, 8)
        assert torch.equal(block(features), features)


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


@pytest.mark.parametrize("resample", [DoubleSize(12), HalveSize(12), Smooth(12, 2)])
def test_filters_keep_a_constant(resample):
    result = resample(torch.full((1, 2, 12, 12), 3.0))
    assert torch.equal(result[:, :, 2:-2, 2:-2], torch.full_like(result[:, :, 2:-2, 2:-2], 3.0))


@pytest.mark.parametrize(("resample", "factor"), [(DoubleSize(16), 2), (HalveSize(16), 0.5)])
def test_filters_shift_nothing(resample, factor):
    """A spot's centre of mass, in coordinates from 0 to 1 across the picture, stays where it was."""
    size = 16
    for row, column in ((8, 8), (7, 4), (5, 10)):
        spot = torch.zeros(1, 1, size, size)
        spot[0, 0, row, column] = 1
        result = resample(spot)[0, 0]
        place = (torch.arange(result.shape[0]) + 0.5) / result.shape[0]
        mass = result.sum()
        assert result.shape == (size * factor, size * factor)
        assert mass.item() == pytest.approx(factor**2)
        assert ((result.sum(1) * place).sum() / mass).item() == pytest.approx(
            (row + 0.5) / size, abs=0.5 / size / (1 if factor < 1 else 1e6)
        )
        assert ((result.sum(0) * place).sum() / mass).item() == pytest.approx(
            (column + 0.5) / size, abs=0.5 / size / (1 if factor < 1 else 1e6)
        )


def test_halving_undoes_the_place_of_doubling():
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    torch.testing.assert_close(HalveSize(32)(DoubleSize(16)(ramp))[..., 4:-4, 4:-4], ramp[..., 4:-4, 4:-4])


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
@pytest.mark.parametrize("width", [32, 64])
def test_every_resolution_runs_in_either_precision(resolution, width):
    arguments = R3GANParameters(width=width, latent_size=16)
    generator, discriminator = Generator(arguments, resolution), Discriminator(arguments, resolution)
    images = generator(torch.randn(2, 16))
    assert images.shape == (2, 3, resolution, resolution)
    with torch.autocast("cpu", torch.bfloat16):
        half_images = generator(torch.randn(2, 16))
        logits = discriminator(half_images.float())
    assert half_images.dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert logits.shape == (2,)


def test_a_penalty_reaches_every_weight_that_shapes_the_slope():
    discriminator = Discriminator(R3GANParameters(width=32, latent_size=16), 32)
    for block in (module for module in discriminator.modules() if isinstance(module, Block)):
        torch.nn.init.normal_(block.narrow.weight, 0, 0.1)
    images = torch.randn(2, 3, 32, 32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        squared_gradient_norms(discriminator(images), images).mean().backward()
    slopes = {name: parameter.grad for name, parameter in discriminator.named_parameters()}
    assert all(slope is not None and slope.abs().sum() > 0 for name, slope in slopes.items() if not name.endswith("bias"))


def test_widths_fall_above_32_pixels():
    assert stage_widths("r3gan", 64, 768) == [768, 768, 768, 768, 384]
    assert stage_widths("r3gan", 256, 256) == [256, 256, 256, 256, 128, 64, 32]


@pytest.mark.parametrize(
    ("resolution", "width", "message"), [(48, 64, "32, 64, 128 or 256"), (64, 72, "multiple of 16"), (256, 34, "multiple of 8")]
)
def test_sizes_that_cannot_be_are_told(resolution, width, message):
    with pytest.raises(FaceganError, match=message):
        Generator(R3GANParameters(width=width, latent_size=16), resolution)
