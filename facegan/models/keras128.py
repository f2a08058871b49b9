"""keras128: the networks of Nagesh Singh Chauhan's "Generate realistic human face using GAN" (Keras, 2020), layer for layer.

In: latents (B, latent_size), normal; the tutorial's are 32 long. Out: images (B, 3, H, W) in [-1, 1]. The tutorial's size is
128 px; any multiple of 8 from 48 to 256 px works. At 128 px with ``width`` 256 the generator has 14,953,987 parameters and
the discriminator 4,211,713. Nothing is normalised.
"""

from typing import cast

import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.models.convolution import Conv2d, ConvTranspose2d
from facegan.models.layers import Dropout, apply_layers, initialize_as_keras
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.models.parameters import Keras128Parameters

SLOPE = 0.3  # of Keras's LeakyReLU


def check_resolution(resolution: int) -> None:
    """Raises FaceganError for a size that three doublings or the discriminator's unpadded convolutions do not allow."""
    if resolution % 8 or not 48 <= resolution <= 256:
        raise FaceganError(
            f"keras128: expected a resolution that is a multiple of 8 from 48 to 256; found {resolution}; set preprocess.resolution"
        )


class Generator(GeneratorNetwork):
    """Latents (B, latent_size) to images (B, 3, H, W): a dense layer, three doublings, and three wide convolutions."""

    def __init__(self, parameters: Keras128Parameters, resolution: int):
        super().__init__()
        check_resolution(resolution)
        self.latent_size = parameters.latent_size
        width, start = parameters.width, resolution // 8
        self.layers = nn.Sequential(
            nn.Linear(self.latent_size, width // 2 * start**2),
            nn.LeakyReLU(SLOPE),
            nn.Unflatten(1, (width // 2, start, start)),
            Conv2d(width // 2, width, 5, padding=2),
            nn.LeakyReLU(SLOPE),
            ConvTranspose2d(width, width, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            ConvTranspose2d(width, width, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            ConvTranspose2d(width, width, 4, 2, 1),
            nn.LeakyReLU(SLOPE),
            Conv2d(width, 2 * width, 5, padding=2),
            nn.LeakyReLU(SLOPE),
            Conv2d(2 * width, 2 * width, 5, padding=2),
            nn.LeakyReLU(SLOPE),
            Conv2d(2 * width, 3, 7, padding=3),
            nn.Tanh(),
        )
        initialize_as_keras(self)

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        return self.layers(latents)  # (B, 3, H, W) in [-1, 1]


class Discriminator(DiscriminatorNetwork):
    """Images (B, 3, H, W) to logits (B,): five convolutions without padding (128 → 126 → 62 → 30 → 14 → 6), dropout, one number.

    The tutorial's discriminator gives the probability of a fake; this one's logits are those of a real image, as everywhere
    in facegan. With weights and labels of either sign equally likely it is the same game.
    """

    def __init__(self, parameters: Keras128Parameters, resolution: int):
        super().__init__()
        check_resolution(resolution)
        width, size = parameters.width, resolution - 2
        layers = [Conv2d(3, width, 3), nn.LeakyReLU(SLOPE)]
        for _ in range(4):
            layers += [Conv2d(width, width, 4, 2), nn.LeakyReLU(SLOPE)]
            size = size // 2 - 1
        self.layers = nn.Sequential(*layers, nn.Flatten(), Dropout(parameters.dropout), nn.Linear(width * size**2, 1))
        self.features = width * size**2
        initialize_as_keras(self)

    def draw_noise(self, count: int, random: torch.Generator, dtype: torch.dtype) -> Noise:
        """Returns the dropout mask (count, features)."""
        dropout = cast(Dropout, self.layers[-2])
        return (dropout.draw_mask(count, (self.features,), random, dtype, channels_last=False),) if dropout.rate else ()

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        return apply_layers(self.layers, images, noise).flatten()  # (B,)
