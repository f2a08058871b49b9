"""tutorial28: the networks of Shubham Sharma's "Celebrity face generation using GANs" (TensorFlow, 2018).

In: latents (B, latent_size), uniform in [-1, 1]; the tutorial's are 100 long. Out: images (B, 3, H, W) in [-1, 1]. The
tutorial's size is 28 px; any multiple of 4 from 16 to 64 px works. The text gives the depths' ends (1024 and 3) and the kinds
of layers; kernel sizes, the depths between and the rate of dropout are chosen here.
"""

import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.models.convolution import Conv2d
from facegan.models.layers import BatchNorm2d, Dropout, apply_layers, initialize_as_keras, normalize_spectrum
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.models.parameters import Tutorial28Parameters

SLOPE = 0.2


def check_resolution(resolution: int) -> None:
    """Raises FaceganError for a size that two doublings do not reach."""
    if resolution % 4 or not 16 <= resolution <= 64:
        raise FaceganError(
            f"tutorial28: expected a resolution that is a multiple of 4 from 16 to 64; found {resolution}; set preprocess.resolution"
        )


class Generator(GeneratorNetwork):
    """Latents (B, latent_size) to images (B, 3, H, W): dense to 7×7×1024, then transposed convolutions to 512, 256, 128 and 3."""

    latent_distribution = "uniform"

    def __init__(self, parameters: Tutorial28Parameters, resolution: int):
        super().__init__()
        check_resolution(resolution)
        self.latent_size = parameters.latent_size
        width, start = parameters.width, resolution // 4
        depths = [width, width // 2, width // 4, width // 8]
        sizes = [start, start, 2 * start, 2 * start]
        self.dropped = [(depth, size, size) for depth, size in zip(depths, sizes, strict=True)]  # the features that dropout is applied to

        def finish(depth: int) -> list[nn.Module]:
            return [BatchNorm2d(depth), nn.LeakyReLU(SLOPE), Dropout(parameters.dropout)]

        self.layers = nn.Sequential(
            nn.Linear(self.latent_size, width * start**2, bias=False),
            nn.Unflatten(1, (width, start, start)),
            *finish(depths[0]),
            nn.ConvTranspose2d(depths[0], depths[1], 3, 1, 1, bias=False),
            *finish(depths[1]),
            nn.ConvTranspose2d(depths[1], depths[2], 4, 2, 1, bias=False),
            *finish(depths[2]),
            nn.ConvTranspose2d(depths[2], depths[3], 3, 1, 1, bias=False),
            *finish(depths[3]),
            nn.ConvTranspose2d(depths[3], 3, 4, 2, 1),
            nn.Tanh(),
        )
        initialize_as_keras(self)

    def draw_noise(self, count: int, random: torch.Generator, dtype: torch.dtype) -> Noise:
        """Returns a dropout mask for each of the first four layers' features."""
        dropouts = [layer for layer in self.layers if isinstance(layer, Dropout) and layer.rate]
        return tuple(
            dropout.draw_mask(count, shape, random, dtype, channels_last=number > 0)  # convolutions return channels-last features
            for number, (dropout, shape) in enumerate(zip(dropouts, self.dropped, strict=False))
        )

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        return apply_layers(self.layers, latents, noise)  # (B, 3, H, W) in [-1, 1]


class Discriminator(DiscriminatorNetwork):
    """Images (B, 3, H, W) to logits (B,): four convolutions (28 → 14 → 14 → 7 → 7 px), then one number.

    The input layer has a leaky ReLU but no norm: without any nonlinearity it would melt into the second.
    """

    def __init__(self, parameters: Tutorial28Parameters, resolution: int):
        super().__init__()
        check_resolution(resolution)
        spectral = parameters.discriminator_norm == "spectral"
        depths = [parameters.width // 16, parameters.width // 8, parameters.width // 4, parameters.width // 2]
        layers = [Conv2d(3, depths[0], 4, 2, 1), nn.LeakyReLU(SLOPE)]
        for shallow, deep, kernel, stride in zip(depths, depths[1:], (3, 4, 3), (1, 2, 1), strict=False):
            norm = [] if spectral else [BatchNorm2d(deep)]
            layers += [Conv2d(shallow, deep, kernel, stride, 1, bias=spectral), *norm, nn.LeakyReLU(SLOPE)]
        layers += [nn.Flatten(), nn.Linear(depths[-1] * (resolution // 4) ** 2, 1)]
        self.layers = nn.Sequential(*layers)
        initialize_as_keras(self)
        if spectral:
            for index, layer in enumerate(self.layers):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    self.layers[index] = normalize_spectrum(layer)

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        return self.layers(images).flatten()  # (B,)
