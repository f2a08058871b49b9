"""A plain residual GAN without any normalisation, small enough to learn in minutes on a CPU.

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) nominally in [-1, 1], for any power of two from 32 to 256.
The networks are Mescheder et al. 2018's ("Which training methods for GANs do actually converge?"), thinned: one block of two dense
3×3 convolutions at each size, each with its activation before it (He et al. 2016, "Identity mappings in deep residual networks"), and
an identity when training begins (Zhang et al. 2019, "Fixup"). Dense convolutions and means are what a CPU is fast at: grouped and
depthwise ones, and filtered resampling, take several times as long there for the same sums. At the largest size, where most of the time
would go, there is one thin convolution in the place of a block. (A strided one is faster still, but leaves a pattern of dots.)

The loss that they are made for is ``relativistic`` with the penalty ``r1_r2``.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.models.layers import is_power_of_two
from facegan.models.parameters import ResNetParameters

SLOPE = 0.2  # of leaky ReLU below zero
ACTIVATION_GAIN = math.sqrt(2 / (1 + SLOPE**2))  # what leaky ReLU takes from the deviation, weights give back
NARROWEST = 16  # channels; fewer take as long, since they leave a CPU's vectors half empty


def stage_widths(resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px, up to half the resolution: ``width`` at the first two, then half as many at each doubling.

    Raises:
        FaceganError: a resolution that is no power of two from 32 to 256.
    """
    if not (is_power_of_two(resolution) and 32 <= resolution <= 256):
        raise FaceganError(f"resnet: expected a resolution of 32, 64, 128 or 256; found {resolution}; set preprocess.resolution")
    stages = resolution.bit_length() - 3
    return [max(width >> max(0, stage - 1), min(width, NARROWEST)) for stage in range(stages)]


def initialize(layer: nn.Module, fan_in: int, gain: float = 1.0) -> None:
    """Draws weights from N(0, gain / √fan_in), biases zero."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(fan_in))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


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
    """x + W₂·act(W₁·act(x)), both 3×3, with W₂ zero at first."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        initialize(self.first, 9 * channels, ACTIVATION_GAIN)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(activate(self.first(activate(features))))  # (B, C, H, W)


def make_transition(entering: int, leaving: int) -> nn.Module:
    """Returns what changes the number of channels between two stages: nothing, or a 1×1 convolution."""
    if entering == leaving:
        return nn.Identity()
    layer = nn.Conv2d(entering, leaving, 1, bias=False)
    initialize(layer, entering)
    return layer


def make_stages(widths: list[int]) -> tuple[nn.ModuleList, nn.ModuleList]:
    """Returns a block for each width, and the transitions between them."""
    return nn.ModuleList(map(Block, widths)), nn.ModuleList(itertools.starmap(make_transition, itertools.pairwise(widths)))


class Generator(nn.Module):
    """Latents (B, latent_size) to images (B, 3, H, W): a linear layer to 4 px, then stage by stage twice the size."""

    latent_distribution = "normal"

    def __init__(self, parameters: ResNetParameters, resolution: int):
        super().__init__()
        self.latent_size = parameters.latent_size
        widths = stage_widths(resolution, parameters.width)
        self.start = nn.Linear(self.latent_size, widths[0] * 4 * 4)
        self.blocks, self.transitions = make_stages(widths)
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)
        initialize(self.start, self.latent_size)
        initialize(self.to_rgb, 9 * widths[-1])

    def forward(self, latents: Tensor) -> Tensor:
        """Returns images (B, 3, H, W), nominally in [-1, 1], of the latents (B, latent_size)."""
        features = self.start(latents).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)  # (B, width, 4, 4)
        features = self.blocks[0](features)
        for transition, block in zip(self.transitions, self.blocks[1:], strict=True):
            features = block(double_size(transition(features)))
        return self.to_rgb(double_size(activate(features)))  # (B, 3, H, W)


class Discriminator(nn.Module):
    """Images (B, 3, H, W) to logits (B,): the generator's mirror image. No statistics of the batch enter."""

    def __init__(self, parameters: ResNetParameters, resolution: int):
        super().__init__()
        widths = stage_widths(resolution, parameters.width)[::-1]
        self.from_rgb = nn.Conv2d(3, widths[0], 3, padding=1)
        self.blocks, self.transitions = make_stages(widths)
        self.judge = nn.Linear(widths[-1] * 4 * 4, 1, bias=False)
        initialize(self.from_rgb, 9 * 3)
        initialize(self.judge, widths[-1] * 4 * 4)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W): large for real ones."""
        features = halve_size(activate(self.from_rgb(images)))  # (B, C, H / 2, W / 2)
        for transition, block in zip(self.transitions, self.blocks, strict=False):
            features = transition(halve_size(block(features)))
        features = activate(self.blocks[-1](features))  # (B, width, 4, 4)
        return self.judge(features.flatten(1)).flatten()  # (B,)
