"""DCGAN: Radford, Metz and Chintala 2015, "Unsupervised representation learning with deep convolutional GANs".

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) in [-1, 1], for any power of two from 32 to 256. At 64 px with
the paper's defaults these are exactly the networks of the DCGAN tutorials. Other sizes have more or fewer stages; the width doubles at
each stage towards 4 px, up to eight times ``width``.
"""

import itertools

import torch
from torch import Tensor, nn

from facegan.common.labels import Labels
from facegan.models.convolution import Conv2d
from facegan.models.layers import BatchNorm2d, normalize_spectrum, stage_sizes
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.models.parameters import DCGANParameters


def stage_widths(resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px, up to half the resolution. Raises FaceganError for an unsupported resolution."""
    stages = len(stage_sizes("dcgan", resolution)) - 1
    return [min(2**stage, 8) * width for stage in reversed(range(stages))]


def initialize(network: nn.Module) -> None:
    """Draws convolutions from N(0, 0.02) and batch norm's weights from N(1, 0.02), as in section 3 of the paper."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


class Generator(GeneratorNetwork):
    """Latents (B, latent_size) to images (B, 3, H, W): one transposed convolution per stage, each doubling the size."""

    def __init__(self, parameters: DCGANParameters, resolution: int):
        super().__init__()
        self.latent_size = parameters.latent_size
        widths = stage_widths(resolution, parameters.width)
        layers = [nn.ConvTranspose2d(self.latent_size, widths[0], 4, 1, 0, bias=False), BatchNorm2d(widths[0]), nn.ReLU()]
        for wide, narrow in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False), BatchNorm2d(narrow), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], 3, 4, 2, 1, bias=False), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.label_features = widths[0] * 4 * 4
        initialize(self)

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        features = self.layers[0](latents[:, : self.latent_size, None, None])  # (B, C, 4, 4)
        if self.labels.columns:
            features = self.add_label_features(features.flatten(1), latents).unflatten(1, (-1, 4, 4))
            features = features.contiguous(memory_format=torch.channels_last)
        for layer in self.layers[1:]:
            features = layer(features)
        return features  # (B, 3, H, W) in [-1, 1]


class Discriminator(DiscriminatorNetwork):
    """Images (B, 3, H, W) to logits (B,): one strided convolution per stage, each halving the size."""

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
        self.label_features = widths[-1] * 4 * 4
        self.is_spectral = spectral
        initialize(self)
        if spectral:
            for index, layer in enumerate(self.layers):
                if isinstance(layer, nn.Conv2d):
                    self.layers[index] = normalize_spectrum(layer)

    def add_labels(self, labels: Labels) -> None:
        """Makes the network conditional. With spectral norm, the projection has it too, and starts from small weights, not from zero."""
        super().add_labels(labels)
        if self.is_spectral:
            nn.init.normal_(self.label_layer.weight, 0.0, 0.02)
            normalize_spectrum(self.label_layer)

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        features = images
        for layer in self.layers[:-1]:
            features = layer(features)
        return self.project(self.layers[-1](features).flatten(), features.flatten(1), labels)  # (B,)
