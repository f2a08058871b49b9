"""keras128: the networks of Nagesh Singh Chauhan's "Generate realistic human face using GAN" (Keras, 2020), layer for layer.

In: latents (B, latent_size), normal; the tutorial's are 32 long. Out: images (B, 3, H, W) in [-1, 1]. The tutorial's size is
128 px; any multiple of 8 from 48 to 256 px works. At 128 px with ``width`` 256 the generator has 14,953,987 parameters and
the discriminator 4,211,713. Nothing is normalised.
"""

import dataclasses
from typing import Annotated

from torch import Tensor, nn

from facegan.common.config import AtLeast, Between
from facegan.common.errors import FaceganError
from facegan.models.convolution import Conv2d, ConvTranspose2d
from facegan.models.layers import initialize_as_keras

SLOPE = 0.3  # of Keras's LeakyReLU


@dataclasses.dataclass(frozen=True)
class Keras128Arguments:
    """What the networks are built from.

    ``width``: channels of the middle layers, 256 in the tutorial; the generator's first depth is half of it, its last two
    twice. ``dropout``: the share of the discriminator's features that is dropped before its last layer, 0.4 in the tutorial.
    """

    width: Annotated[int, AtLeast(2)]
    latent_size: Annotated[int, AtLeast(1)]
    dropout: Annotated[float, Between(0, 0.9)]

    def problems(self):
        if self.width % 2:
            yield f"width: expected an even number; found {self.width}"


def check_resolution(resolution: int) -> None:
    """Raises FaceganError for a size that three doublings or the discriminator's unpadded convolutions do not allow."""
    if resolution % 8 or not 48 <= resolution <= 256:
        raise FaceganError(f"keras128: expected a resolution that is a multiple of 8 from 48 to 256; found {resolution}; set preprocess.resolution")


class Generator(nn.Module):
    """Latents (B, latent_size) to images (B, 3, H, W): a dense layer, three doublings, and three wide convolutions."""

    latent_distribution = "normal"

    def __init__(self, resolution: int, arguments: Keras128Arguments):
        super().__init__()
        check_resolution(resolution)
        self.latent_size = arguments.latent_size
        width, start = arguments.width, resolution // 8
        self.layers = nn.Sequential(
            nn.Linear(self.latent_size, width // 2 * start**2), nn.LeakyReLU(SLOPE), nn.Unflatten(1, (width // 2, start, start)),
            Conv2d(width // 2, width, 5, padding=2), nn.LeakyReLU(SLOPE),
            ConvTranspose2d(width, width, 4, 2, 1), nn.LeakyReLU(SLOPE),
            ConvTranspose2d(width, width, 4, 2, 1), nn.LeakyReLU(SLOPE),
            ConvTranspose2d(width, width, 4, 2, 1), nn.LeakyReLU(SLOPE),
            Conv2d(width, 2 * width, 5, padding=2), nn.LeakyReLU(SLOPE),
            Conv2d(2 * width, 2 * width, 5, padding=2), nn.LeakyReLU(SLOPE),
            Conv2d(2 * width, 3, 7, padding=3), nn.Tanh(),
        )
        initialize_as_keras(self)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)  # (B, 3, H, W) in [-1, 1]


class Discriminator(nn.Module):
    """Images (B, 3, H, W) to logits (B,): five convolutions without padding (128 → 126 → 62 → 30 → 14 → 6), dropout, one number.

    The tutorial's discriminator gives the probability of a fake; this one's logits are those of a real image, as everywhere
    in facegan. With weights and labels of either sign equally likely it is the same game.
    """

    def __init__(self, resolution: int, arguments: Keras128Arguments):
        super().__init__()
        check_resolution(resolution)
        width, size = arguments.width, resolution - 2
        layers = [Conv2d(3, width, 3), nn.LeakyReLU(SLOPE)]
        for _ in range(4):
            layers += [Conv2d(width, width, 4, 2), nn.LeakyReLU(SLOPE)]
            size = size // 2 - 1
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(arguments.dropout), nn.Linear(width * size**2, 1))
        initialize_as_keras(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten()  # (B,)
