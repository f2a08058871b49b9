"""What all models have in common: sizes, resolutions, precisions, what a penalty reaches, and errors for what cannot be built."""

from functools import partial

import pytest
import torch
from torch import nn

from facegan.common.errors import FaceganError
from facegan.models import r3gan, resnet
from facegan.models.parameters import (
    DCGANParameters,
    Keras128Parameters,
    ModelParameters,
    R3GANParameters,
    ResNetParameters,
    StyleGAN2Parameters,
    Tutorial28Parameters,
)
from facegan.models.registry import build_discriminator, build_generator, count_parameters
from facegan.training.losses import squared_gradient_norms
from presets import apply

DCGAN = partial(DCGANParameters, latent_size=16, discriminator_norm="batch")
TUTORIAL28 = partial(Tutorial28Parameters, latent_size=100, dropout=0.5, discriminator_norm="batch")
KERAS128 = partial(Keras128Parameters, latent_size=32, dropout=0.4)
R3GAN = partial(R3GANParameters, latent_size=64)
RESNET = partial(ResNetParameters, name="resnet", latent_size=64)
STYLEGAN2 = partial(StyleGAN2Parameters, latent_size=16)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def build(model: ModelParameters, resolution: int) -> list[nn.Module]:
    return [role(model, resolution) for role in (build_generator, build_discriminator)]


def count_r3gan_block(width: int) -> int:
    """Two pointwise convolutions, one of 16 channels per group, two biases."""
    return 2 * (width * 2 * width) + 2 * width * 16 * 9 + 2 * (2 * width)


def count_resnet_block(channels: int) -> int:
    """Two dense 3×3 convolutions with biases."""
    return 2 * (9 * channels * channels + channels)


R3GAN_TRUNK = 8 * count_r3gan_block(768) + 2 * count_r3gan_block(384) + 768 * 384  # five stages of two blocks, a change of width
RESNET_TRUNK = 2 * count_resnet_block(64) + count_resnet_block(32) + count_resnet_block(16) + 64 * 32 + 32 * 16  # four stages
# the parameters of generator and discriminator: of the tutorials and the papers, or counted layer by layer
COUNTS = [
    (DCGAN(width=64, latent_size=100), 64, 3_576_704, 2_765_568),
    (KERAS128(width=256), 128, 14_953_987, 4_211_713),
    (TUTORIAL28(width=1024), 28, 12_138_243, 1_807_681),
    (R3GAN(width=768), 64, 22_429_824, 22_381_440),
    (R3GAN(width=768), 64, R3GAN_TRUNK + 768 * 4 * 4 + 64 * 768 + 384 * 3, R3GAN_TRUNK + 3 * 384 + 768 * 4 * 4 + 768),
    (RESNET(width=64), 64, RESNET_TRUNK + (64 + 1) * 64 * 4 * 4 + 9 * 16 * 3 + 3, RESNET_TRUNK + 9 * 3 * 16 + 16 + 64 * 4 * 4),
]


@pytest.mark.parametrize(("model", "resolution", "in_generator", "in_discriminator"), COUNTS, ids=[case[0].name for case in COUNTS])
def test_parameters_are_as_many_as_in_the_paper(model, resolution, in_generator, in_discriminator):
    with torch.device("meta"):
        assert list(map(count_parameters, build(model, resolution))) == [in_generator, in_discriminator]


def test_widths_fall_with_the_resolution():
    assert r3gan.stage_widths("r3gan", 64, 768) == [768, 768, 768, 768, 384]
    assert r3gan.stage_widths("r3gan", 256, 256) == [256, 256, 256, 256, 128, 64, 32]
    assert resnet.stage_widths(256, 128) == [128, 128, 64, 32, 16, 16] and resnet.stage_widths(64, 8) == [8, 8, 8, 8]


POWERS = (32, 64, 128, 256)
SIZES = [(DCGAN(width=8), size) for size in POWERS] + [(DCGAN(width=8, discriminator_norm="spectral"), size) for size in POWERS]
SIZES += [(make(width=16), size) for make in (R3GAN, RESNET, STYLEGAN2) for size in POWERS]
SIZES += [(KERAS128(width=4), size) for size in (48, 64, 96)] + [(TUTORIAL28(width=16), 28)]


@pytest.mark.parametrize(("model", "resolution"), SIZES, ids=[f"{model.name}-{size}" for model, size in SIZES])
def test_every_resolution_trains_in_either_precision(model, resolution):
    """And with the channels last, as on a GPU."""
    generator, discriminator = (network.to(memory_format=torch.channels_last) for network in build(model, resolution))
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            images = apply(generator, torch.randn(4, model.latent_size))
            logits = apply(discriminator, images.float())
            logits.sum().backward()
        assert images.shape == (4, 3, resolution, resolution) and logits.shape == (4,)
        assert "dcgan" not in model.name or images.abs().max() <= 1
    for network in (generator, discriminator):
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters())


def randomize(network: nn.Module) -> None:
    """Makes blocks differ from the identity."""
    for block in (module for module in network.modules() if isinstance(module, r3gan.Block | resnet.Block)):
        nn.init.normal_((block.narrow if isinstance(block, r3gan.Block) else block.second).weight, 0, 0.1)


@pytest.mark.parametrize("model", [R3GAN(width=32), RESNET(width=32)], ids=["r3gan", "resnet"])
def test_every_block_is_the_identity_when_training_begins(model):
    for network in build(model, 128):
        for block in (module for module in network.modules() if isinstance(module, r3gan.Block | resnet.Block)):
            channels = block.narrow.out_channels if isinstance(block, r3gan.Block) else block.first.in_channels
            features = torch.randn(2, channels, 8, 8)
            assert torch.equal(block(features), features)


@pytest.mark.parametrize("model", [R3GAN(width=32), RESNET(width=16), STYLEGAN2(width=16)], ids=["r3gan", "resnet", "stylegan2"])
def test_a_penalty_reaches_every_weight_that_shapes_the_slope(model):
    discriminator = build_discriminator(model, 32)
    randomize(discriminator)
    images = torch.randn(4, 3, 32, 32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        squared_gradient_norms(discriminator(images), images).mean().backward()
    slopes = {name: parameter.grad for name, parameter in discriminator.named_parameters() if not name.endswith("bias")}
    assert all(slope is not None and slope.isfinite().all() and slope.any() for slope in slopes.values())


SQUARES = "32, 64, 128 or 256"


@pytest.mark.parametrize(
    ("model", "resolution", "message"),
    [
        *((model, size, f"expected a resolution.*found {size}") for model, size in ((KERAS128(width=4), 40), (TUTORIAL28(width=16), 30))),
        *((make(width=16), size, SQUARES) for make in (DCGAN, R3GAN, RESNET, STYLEGAN2) for size in (28, 48, 512)),
        *((R3GAN(width=72), 64, "multiple of 16"), (R3GAN(width=34), 256, "multiple of 8"), (STYLEGAN2(width=12), 256, "multiple of 8")),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be_built_are_reported(model, resolution, message):
    for role in (build_generator, build_discriminator):
        with pytest.raises(FaceganError, match=message):
            role(model, resolution)
