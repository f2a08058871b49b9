"""The DCGAN family: the tutorials' networks to the parameter, at every size."""

import pytest
import torch

from facegan.common.errors import FaceganError
from facegan.models.parameters import DCGANParameters
from facegan.models.registry import build_discriminator, build_generator, count_parameters

PAPER = DCGANParameters(width=64, latent_size=100, discriminator_norm="batch")


def test_at_64_pixels_the_parameters_are_the_tutorials():
    assert count_parameters(build_generator(PAPER, 64)) == 3_576_704
    assert count_parameters(build_discriminator(PAPER, 64)) == 2_765_568


@pytest.mark.parametrize("resolution", [32, 64, 128, 256])
@pytest.mark.parametrize("norm", ["batch", "spectral"])
def test_every_size_makes_and_takes_its_pictures(resolution, norm):
    arguments = DCGANParameters(width=8, latent_size=16, discriminator_norm=norm)
    generator, discriminator = build_generator(arguments, resolution), build_discriminator(arguments, resolution)
    images = generator(torch.randn(3, 16))
    assert images.shape == (3, 3, resolution, resolution)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (3,)


@pytest.mark.parametrize("resolution", [16, 48, 512])
def test_other_sizes_are_refused_in_words(resolution):
    with pytest.raises(FaceganError, match=f"expected a resolution of 32, 64, 128 or 256; found {resolution}"):
        build_generator(PAPER, resolution)


def test_weights_start_as_the_paper_has_them():
    torch.manual_seed(0)
    network = build_discriminator(PAPER, 64)
    convolution, norm = network.layers[2].weight, network.layers[3].weight
    assert abs(convolution.mean()) < 1e-3 and abs(convolution.std() - 0.02) < 1e-3
    assert abs(norm.mean() - 1) < 0.01 and abs(norm.std() - 0.02) < 0.005


def test_spectral_norm_bounds_every_convolution():
    torch.manual_seed(0)
    network = build_discriminator(DCGANParameters(width=8, latent_size=16, discriminator_norm="spectral"), 32)
    for _ in range(50):
        network(torch.randn(2, 3, 32, 32))
    network.eval()
    for layer in network.layers:
        if isinstance(layer, torch.nn.Conv2d):
            assert abs(torch.linalg.matrix_norm(layer.weight.flatten(1), 2) - 1) < 0.01
