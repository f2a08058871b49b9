"""What every generator and discriminator provides.

In training a network must not draw random numbers itself: the trainer draws them for the full batch with ``draw_noise`` and passes each
microbatch its rows. So the result does not depend on how a batch is split over microbatches and processes. A network that draws from
PyTorch's default generator in training (``torch.randn``, ``nn.Dropout``) is rejected; the trainer checks this after every step.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Noise = tuple[Tensor, ...]  # random numbers of a network; the first dimension of each tensor is the image


class Network(nn.Module):
    """A generator or a discriminator."""

    def draw_noise(self, count: int, random: torch.Generator, dtype: torch.dtype) -> Noise:
        """Returns the random numbers that ``forward`` needs in training for ``count`` images, on the random generator's device.

        Args:
            dtype: the type in which features are computed.
        """
        return ()


class GeneratorNetwork(Network):
    """Latents (B, latent_size) to images (B, 3, H, W), nominally in [-1, 1].

    Attributes:
        latent_size: numbers per latent.
        latent_distribution: "normal", or "uniform" in [-1, 1].
        size: height and width of the images in training, in pixels; only a network that grows reads it.
    """

    latent_size: int
    truncation: float  # declared here, and set only by a network that truncates by itself; see ``facegan.models.latents.truncate``
    latent_distribution: Literal["normal", "uniform"] = "normal"
    size: int

    def update_statistics(self, latents: Tensor) -> None:
        """Updates running statistics of latents, once per batch; ``latents`` (B, latent_size) are this process's share."""

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        """Returns images (B, 3, H, W) of the latents (B, latent_size). ``noise``: see ``draw_noise``; unused in evaluation mode."""
        raise NotImplementedError


class DiscriminatorNetwork(Network):
    """Images (B, 3, H, W) to logits (B,): large for real images.

    Attributes:
        group_images: images of a batch that are judged together, as neighbours; 1 where each image is judged alone.
    """

    group_images = 1

    def forward(self, images: Tensor, noise: Noise = ()) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W). ``noise``: see ``draw_noise``; unused in evaluation mode."""
        raise NotImplementedError
