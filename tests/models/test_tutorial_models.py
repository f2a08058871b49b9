"""The tutorials' three pairs of networks: layers, shapes, parameter counts and first weights."""

import math

import pytest
import torch
from torch import nn

from facegan.common.errors import FaceganError
from facegan.models.layers import Dropout
from facegan.models.parameters import DCGANParameters, Keras128Parameters, Tutorial28Parameters
from facegan.models.registry import build_discriminator, build_generator, count_parameters
from presets import apply, read_preset

KERAS128 = Keras128Parameters(width=256, latent_size=32, dropout=0.4)
TUTORIAL28 = Tutorial28Parameters(width=1024, latent_size=100, dropout=0.5, discriminator_norm="batch")
SMALL = Tutorial28Parameters(width=16, latent_size=10, dropout=0.5, discriminator_norm="spectral")


def build(model, resolution):
    return build_generator(model, resolution), build_discriminator(model, resolution)


def shapes_between(network, images_or_latents, kind):
    """Returns the output's shape, without the batch, after each layer of that kind."""
    shapes = []
    for layer in network.eval().layers:
        images_or_latents = layer(images_or_latents)
        if isinstance(layer, kind):
            shapes.append(tuple(images_or_latents.shape[1:]))
    return shapes


def test_keras128_layer_for_layer():
    with torch.device("meta"):
        generator, discriminator = build(KERAS128, 128)
        up = shapes_between(generator, torch.empty(1, 32), nn.Conv2d | nn.ConvTranspose2d)
        down = shapes_between(discriminator, torch.empty(1, 3, 128, 128), nn.Conv2d)
    assert up == [(256, 16, 16), (256, 32, 32), (256, 64, 64), (256, 128, 128), (512, 128, 128), (512, 128, 128), (3, 128, 128)]
    assert down == [(256, 126, 126), (256, 62, 62), (256, 30, 30), (256, 14, 14), (256, 6, 6)]
    counts = [count_parameters(layer) for layer in generator.layers if count_parameters(layer)]
    assert counts == [1_081_344, 819_456, 1_048_832, 1_048_832, 1_048_832, 3_277_312, 6_554_112, 75_267]
    assert [count_parameters(layer) for layer in discriminator.layers if count_parameters(layer)] == [7_168, *[1_048_832] * 4, 9_217]
    slopes = {layer.negative_slope for network in (generator, discriminator) for layer in network.layers if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.3}
    assert [layer.rate for layer in discriminator.layers if isinstance(layer, Dropout)] == [0.4]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in [*generator.modules(), *discriminator.modules()])


def test_tutorial28_follows_the_text():
    with torch.device("meta"):
        generator, discriminator = build(TUTORIAL28, 28)
        up = shapes_between(generator, torch.empty(1, 100), nn.Unflatten | nn.ConvTranspose2d)
    assert up == [(1024, 7, 7), (512, 7, 7), (256, 14, 14), (128, 14, 14), (3, 28, 28)]
    kinds = [type(layer).__name__ for layer in generator.layers]
    assert kinds.count("BatchNorm2d") == kinds.count("LeakyReLU") == kinds.count("Dropout") == 4  # in every layer but the output
    assert kinds[-2:] == ["ConvTranspose2d", "Tanh"]
    kinds = [type(layer).__name__ for layer in discriminator.layers]
    assert kinds.count("Conv2d") == kinds.count("LeakyReLU") == 4
    assert kinds.count("BatchNorm2d") == 3  # not in the input layer
    assert generator.latent_distribution == "uniform"


@pytest.mark.parametrize(("model", "resolution"), [(KERAS128.model_copy(update={"width": 64}), 48), (TUTORIAL28, 28)])
def test_first_weights_are_those_of_keras(model, resolution):
    torch.manual_seed(0)
    for network in build(model, resolution):
        for layer in network.layers:
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
                limit = math.sqrt(6 / (fan_in + fan_out))
                assert layer.weight.abs().max() <= limit
                if layer.weight.numel() > 5_000:
                    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.03)
                    assert abs(layer.weight.mean().item()) < 0.05 * limit
                assert layer.bias is None or not layer.bias.any()


def test_first_weights_of_dcgan():
    torch.manual_seed(0)
    for network in build(DCGANParameters(width=64, latent_size=100, discriminator_norm="batch"), 64):
        for layer in network.layers:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
                assert abs(layer.weight.mean().item()) < 0.002
            elif isinstance(layer, nn.BatchNorm2d):
                assert layer.weight.mean().item() == pytest.approx(1, abs=0.01)
                assert layer.weight.std().item() == pytest.approx(0.02, rel=0.3)
                assert not layer.bias.any()


def test_dropout_only_in_training():
    torch.manual_seed(0)
    generator, latents = build_generator(SMALL, 28), torch.rand(4, SMALL.latent_size)
    assert not torch.equal(apply(generator, latents, 0), apply(generator, latents, 1))
    with pytest.raises(ValueError, match="draw_noise"):
        generator(latents)
    generator.eval()
    assert torch.equal(generator(latents), generator(latents))


def test_spectral_norm_bounds_the_slope():
    torch.manual_seed(0)
    discriminator = build_discriminator(SMALL, 28)
    for _ in range(30):  # one step of the power iteration each
        discriminator(torch.randn(2, 3, 28, 28))
    weights = [layer.weight.flatten(1) for layer in discriminator.layers if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert [torch.linalg.matrix_norm(weight, 2).item() for weight in weights] == pytest.approx([1.0] * 5, abs=0.05)


@pytest.mark.parametrize(
    ("preset", "width", "problem"), [("celeba128_keras", 5, "even number; found 5"), ("celeba28_tutorial", 40, "multiple of 16; found 40")]
)
def test_impossible_width_is_reported(preset, width, problem):
    with pytest.raises(FaceganError, match=rf"model.width: expected .*{problem}"):
        read_preset(preset, model={"width": width})
