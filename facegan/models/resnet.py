"""A plain residual GAN without any normalisation, small enough to learn in minutes on a CPU.

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) nominally in [-1, 1], for any power of two from 32 to 256.
The networks follow Mescheder et al. 2018 ("Which training methods for GANs do actually converge?"), with fewer channels: one block of two
dense 3×3 convolutions at each size, each preceded by its activation (He et al. 2016, "Identity mappings in deep residual networks"), and
each block initialised to the identity (Zhang et al. 2019, "Fixup"). CPUs compute dense convolutions and means fast; grouped and depthwise
convolutions and filtered resampling take several times as long for the same number of operations. At the largest size, which would take
most of the time, one thin convolution replaces a block. (A strided one is faster still, but leaves a pattern of dots.)

With ``grow_images`` training starts at a smaller size, where a step takes a fraction of the time. The generator's image is then the sum of
one image per size, and the discriminator adds features of the image at each size (Karras et al. 2020, "Analyzing and improving the image
quality of StyleGAN"). The last layer of each larger size starts at zero, so both networks compute the same function before and after they
grow, and the generator makes images of full size at any time.

They are designed for the ``relativistic`` loss with the penalty ``r1_r2``.
"""

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.models.convolution import Conv2d, make_transition
from facegan.models.layers import initialize_normal, stage_sizes
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.models.parameters import ResNetParameters

SLOPE = 0.2  # of leaky ReLU below zero
ACTIVATION_GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance of activations constant (He et al. 2015)
NARROWEST = 16  # channels; fewer take as long, because they leave a CPU's vector registers half empty


def stage_widths(resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px, up to half the resolution: ``width`` at the first two, then half as many at each doubling.

    Raises:
        FaceganError: a resolution other than 32, 64, 128 or 256.
    """
    stages = len(stage_sizes("resnet", resolution)) - 1
    return [max(width >> max(0, stage - 1), min(width, NARROWEST)) for stage in range(stages)]


def activate(features: Tensor) -> Tensor:
    """Returns leaky ReLU of the features."""
    return functional.leaky_relu(features, SLOPE)


def double_size(features: Tensor) -> Tensor:
    """Returns features (B, C, 2H, 2W), interpolated between pixels."""
    return functional.interpolate(features, scale_factor=2, mode="bilinear")


def halve_size(features: Tensor) -> Tensor:
    """Returns features (B, C, H / 2, W / 2), each the mean of four."""
    return functional.avg_pool2d(features, 2)


class Block(nn.Module):
    """x + W₂·act(W₁·act(x)), both 3×3, with W₂ initialised to zero."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = Conv2d(channels, channels, 3, padding=1)
        self.second = Conv2d(channels, channels, 3, padding=1)
        initialize_normal(self.first, ACTIVATION_GAIN)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(activate(self.first(activate(features))))  # (B, C, H, W)


def make_stages(widths: list[int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Returns a block for each width, and the transitions between them."""
    return nn.ModuleList(map(Block, widths)), nn.ModuleList(itertools.starmap(make_transition, itertools.pairwise(widths)))


class Generator(GeneratorNetwork):
    """Latents (B, latent_size) to images (B, 3, H, W): a linear layer to 4 px, then stage by stage twice the size."""

    def __init__(self, parameters: ResNetParameters, resolution: int):
        super().__init__()
        self.latent_size = parameters.latent_size
        widths = stage_widths(resolution, parameters.width)
        self.start = nn.Linear(self.latent_size, widths[0] * 4 * 4)
        self.label_features = widths[0] * 4 * 4
        self.blocks, self.transitions = make_stages(widths)
        self.size = resolution
        growths = len(parameters.grow_images)
        self.to_small_rgb = nn.ModuleList(Conv2d(channels, 3, 3, padding=1) for channels in widths[-1 - growths : -1])  # smallest first
        self.to_rgb = Conv2d(widths[-1], 3, 3, padding=1)
        initialize_normal(self.start)
        for layer in (*self.to_small_rgb, self.to_rgb):
            initialize_normal(layer)
        for layer in (*self.to_small_rgb, self.to_rgb)[1:]:
            nn.init.zeros_(layer.weight)

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        """Returns images (B, 3, size, size), nominally in [-1, 1], of the latents (B, input_size)."""
        features = self.add_label_features(self.start(latents[:, : self.latent_size]), latents)
        features = features.unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)  # (B, width, 4, 4)
        features, image = self.blocks[0](features), None
        layers = [*[None] * (len(self.transitions) - len(self.to_small_rgb)), *self.to_small_rgb, self.to_rgb]  # after each block
        for stage, layer in enumerate(layers):
            if stage:
                features = self.blocks[stage](double_size(self.transitions[stage - 1](features)))
            if layer:
                part = layer(double_size(activate(features)))
                image = part if image is None else double_size(image) + part
                if image.shape[-1] == self.size:
                    break
        return cast(Tensor, image)  # (B, 3, size, size)


class Discriminator(DiscriminatorNetwork):
    """Images (B, 3, H, W) to logits (B,): the generator in reverse. It uses no batch statistics."""

    def __init__(self, parameters: ResNetParameters, resolution: int):
        super().__init__()
        widths = stage_widths(resolution, parameters.width)[::-1]
        self.resolution, growths = resolution, len(parameters.grow_images)
        self.from_rgb = Conv2d(3, widths[0], 3, padding=1)
        self.from_small_rgb = nn.ModuleList(Conv2d(3, channels, 3, padding=1) for channels in widths[1 : 1 + growths])  # largest first
        self.blocks, self.transitions = make_stages(widths)
        self.judge = nn.Linear(widths[-1] * 4 * 4, 1, bias=False)
        self.label_features = widths[-1] * 4 * 4
        for layer in (self.from_rgb, *self.from_small_rgb, self.judge):
            initialize_normal(layer)
        for stage, (wide, narrow) in enumerate(itertools.pairwise(widths[: 1 + growths])):
            self.transitions[stage] = layer = Conv2d(wide, narrow, 1, bias=False)
            nn.init.zeros_(layer.weight)

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W), large for real ones; of full size, or of a smaller one that it has grown from."""
        first = (self.resolution // images.shape[-1]).bit_length() - 1
        layers = [self.from_rgb, *self.from_small_rgb]
        features = halve_size(activate(layers[first](images)))  # (B, C, H / 2, W / 2)
        for stage in range(first, len(self.transitions)):
            features = self.transitions[stage](halve_size(self.blocks[stage](features)))
            if stage + 1 < len(layers):
                images = halve_size(images)
                features = features + halve_size(activate(layers[stage + 1](images)))
        features = activate(self.blocks[-1](features)).flatten(1)  # (B, width · 4 · 4)
        return self.project(self.judge(features).flatten(), features, labels)  # (B,)
