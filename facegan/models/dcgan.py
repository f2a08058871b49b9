"""DCGAN: Radford, Metz and Chintala 2015, "Unsupervised representation learning with deep convolutional GANs".

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) in [-1, 1], for any power of two from 32 to 256. At 64 px with
the defaults of the paper these are the networks of every DCGAN tutorial, to the parameter. Other sizes add or leave out
stages: the width doubles at each stage towards 4 px, up to eight times ``width``.
"""

import itertools

from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.models.convolution import Conv2d
from facegan.models.layers import BatchNorm2d, is_power_of_two, normalize_spectrum
from facegan.models.parameters import DCGANParameters


def stage_widths(resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px, up to half the resolution. Raises FaceganError for other resolutions."""
    if not (is_power_of_two(resolution) and 32 <= resolution <= 256):
        raise FaceganError(f"dcgan: expected a resolution of 32, 64, 128 or 256; found {resolution}; set preprocess.resolution")
    stages = resolution.bit_length() - 3
    return [min(2**stage, 8) * width for stage in reversed(range(stages))]


def initialize(network: nn.Module) -> None:
    """Draws convolutions from N(0, 0.02) and batch norm's weights from N(1, 0.02), as the paper's section 3 has it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


class Generator(nn.Module):
    """Latents (B, latent_size) to images (B, 3, H, W): one transposed convolution a stage, each doubling the size."""

    latent_distribution = "normal"

    def __init__(self, parameters: DCGANParameters, resolution: int):
        super().__init__()
        self.latent_size = parameters.latent_size
        widths = stage_widths(resolution, parameters.width)
        layers = [nn.ConvTranspose2d(self.latent_size, widths[0], 4, 1, 0, bias=False), BatchNorm2d(widths[0]), nn.ReLU()]
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), BatchNorm2d(narrow), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialize(self)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents[:, :, None, None])  # (B, 3, H, W) in [-1, 1]


class Discriminator(nn.Module):
    """Images (B, 3, H, W) to logits (B,): one strided convolution a stage, each halving the size."""

    def __init__(self, parameters: DCGANParameters, resolution: int):
        super().__init__()
        widths = stage_widths(resolution, parameters.width)[::-1]
        spectral = parameters.discriminator_norm == "spectral"
        layers = [Conv2d(3, widths[0], 4, 2, 1, bias=spectral), nn.LeakyReLU(0.2)]
        for narrow, wide in itertools.pairwise(widths):
            norm = [] if spectral else [BatchNorm2d(wide)]
            layers += [Conv2d(narrow, wide, 4, 2, 1, bias=spectral), *norm, nn.LeakyReLU(0.2)]
        layers += [Conv2d(widths[-1], 1, 4, 1, 0, bias=spectral)]
        self.layers = nn.Sequential(*layers)
        initialize(self)
        if spectral:
            for index, layer in enumerate(self.layers):
                if isinstance(layer, nn.Conv2d):
                    self.layers[index] = normalize_spectrum(layer)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()  # (B,)
