"""What every generator and discriminator provides.

In training a network must not draw random numbers itself: the trainer draws them for the full batch with ``draw_noise`` and passes each
microbatch its rows. So the result does not depend on how a batch is split over microbatches and processes. A network that draws from
PyTorch's default generator in training (``torch.randn``, ``nn.Dropout``) is rejected; the trainer checks this after every step.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.common.labels import NO_LABELS, Labels
from facegan.models.layers import full_precision

Noise = tuple[Tensor, ...]  # random numbers of a network; the first dimension of each tensor is the image


class Network(nn.Module):
    """A generator or a discriminator.

    With labels, both get one layer more, initialised to zero: training starts from the unlabelled network, whatever its weights are
    (Shahbazi et al. 2022, "Collapse by conditioning"). In a generator it adds to the first features; in a discriminator it
    is the projection of Miyato and Koyama 2018, and a classifier of the labels (Odena et al. 2017, "Auxiliary classifier GANs").

    Attributes:
        labels: what the network was given; without columns where it has no labels.
        label_features: the number of features to which labels are mapped; 0 where the architecture has no labels.
    """

    labels: Labels = NO_LABELS
    label_features = 0

    def add_labels(self, labels: Labels) -> None:
        """Makes the network conditional. Raises FaceganError where the architecture has no labels."""
        if not self.label_features:
            raise FaceganError("data.labels: expected null for tutorial28 and keras128, which have no labels; use another model")
        self.labels = labels
        self.label_layer = nn.Linear(labels.size, self.label_features, bias=False)
        nn.init.zeros_(self.label_layer.weight)

    def map_labels(self, labels: Tensor) -> Tensor:
        """Returns features (B, label_features) of one-hot labels (B, values), in float32."""
        with full_precision(labels.device):
            return self.label_layer(labels.float())

    def draw_noise(self, count: int, random: torch.Generator, dtype: torch.dtype) -> Noise:
        """Returns the random numbers that ``forward`` needs in training for ``count`` images, on the random generator's device.

        Args:
            dtype: the type in which features are computed.
        """
        return ()


class GeneratorNetwork(Network):
    """Latents (B, input_size) to images (B, 3, H, W), nominally in [-1, 1].

    A labelled generator's latents end with the label, as one-hot numbers.

    Attributes:
        latent_size: numbers per latent, without label.
        latent_distribution: "normal", or "uniform" in [-1, 1].
        size: height and width of the images in training, in pixels; only a network that grows reads it.
    """

    latent_size: int
    truncation: float  # declared here, and set only by a network that truncates by itself; see ``facegan.models.latents.truncate``
    latent_distribution: Literal["normal", "uniform"] = "normal"
    size: int

    @property
    def input_size(self) -> int:
        """Numbers per latent, with its label."""
        return self.latent_size + self.labels.size

    def add_label_features(self, features: Tensor, latents: Tensor) -> Tensor:
        """Returns the first features (B, label_features) with those of the label at the end of the latents (B, input_size)."""
        return features + self.map_labels(latents[:, self.latent_size :]) if self.labels.columns else features

    def update_statistics(self, latents: Tensor) -> None:
        """Updates running statistics of latents, once per batch; ``latents`` (B, input_size) are this process's share."""

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        """Returns images (B, 3, H, W) of the latents (B, input_size). ``noise``: see ``draw_noise``; unused in evaluation mode."""
        raise NotImplementedError


class DiscriminatorNetwork(Network):
    """Images (B, 3, H, W) to logits: large for real images.

    Attributes:
        group_images: images of a batch that are judged together, as neighbours; 1 where each image is judged alone.
    """

    group_images = 1

    def project(self, logits: Tensor, features: Tensor, labels: Tensor | None, gain: float = 1.0) -> Tensor:
        """Returns what ``forward`` returns, from logits without labels (B,) and the last features (B, label_features).

        How well the features match a value is the value's logit in the classifier, and a part of the logit of images with this value.
        """
        if not self.labels.columns:
            return logits
        assert labels is not None
        with full_precision(logits.device):
            matches = gain * functional.linear(features.float(), self.label_layer.weight.T)  # (B, values)
        return torch.cat([(logits + (matches * labels).sum(1))[:, None], matches], 1)

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W); with labels (B, 1 + values): also those of a classifier of the labels.

        Args:
            noise: see ``draw_noise``; unused in evaluation mode.
            labels: of a labelled network, one-hot (B, values).
        """
        raise NotImplementedError
