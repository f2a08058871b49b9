"""R3GAN: Huang et al. 2024, "The GAN is dead; long live the GAN! A modern baseline GAN".

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) nominally in [-1, 1], for any power of two from 32 to 256.
There are no normalisation layers. Each block is initialised to the identity, so signals and gradients keep their scale at any depth. It is
designed for the ``relativistic`` loss with the penalty ``r1_r2``. At 64 px with width 768 these are the paper's networks for FFHQ-64, with
22,429,824 and 22,381,440 parameters.

Under autocast, sizes from 8 px up run in its type, and 4 px in float32, where rounding would harm most and float32 costs least.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.models.convolution import Conv2d, make_transition
from facegan.models.layers import full_precision, initialize_normal, stage_widths
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.models.parameters import R3GANParameters
from facegan.models.resampling import DoubleSize, HalveSize

BLOCKS_PER_STAGE = 2
GROUP_CHANNELS = 16
SLOPE = 0.2  # of leaky ReLU below zero
ACTIVATION_GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance of activations constant (He et al. 2015)


def grouped_widths(resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px up to the resolution. Raises FaceganError where they cannot be grouped."""
    widths = stage_widths("r3gan", resolution, width)
    if any(2 * channels % min(GROUP_CHANNELS, 2 * channels) for channels in widths):
        step = GROUP_CHANNELS // 2 * width // widths[-1]
        raise FaceganError(f"model.width: expected a multiple of {step} for r3gan at {resolution} px; found {width}; change it")
    return widths


class Block(nn.Module):
    """x + W₃·act(b₂ + W₂·act(b₁ + W₁·x)), with W₁ and W₃ pointwise and W₂ a grouped 3×3 convolution.

    Args:
        blocks: blocks in the network; the initial weights shrink with their number (Zhang et al. 2019, "Fixup").
    """

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        inner = 2 * channels
        self.widen = Conv2d(channels, inner, 1)
        self.mix = Conv2d(inner, inner, 3, padding=1, groups=max(1, inner // GROUP_CHANNELS))
        self.narrow = Conv2d(inner, channels, 1, bias=False)
        for layer in (self.widen, self.mix):
            initialize_normal(layer, ACTIVATION_GAIN * blocks**-0.25)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, features: Tensor) -> Tensor:
        change = functional.leaky_relu(self.widen(features), SLOPE)  # (B, 2C, H, W)
        change = functional.leaky_relu(self.mix(change), SLOPE)
        return features + self.narrow(change)  # (B, C, H, W)


def make_stages(widths: list[int]) -> nn.ModuleList:
    """Returns one sequence of blocks for each width."""
    blocks = BLOCKS_PER_STAGE * len(widths)
    return nn.ModuleList(nn.Sequential(*(Block(width, blocks) for _ in range(BLOCKS_PER_STAGE))) for width in widths)


class Generator(GeneratorNetwork):
    """Latents (B, latent_size) to images (B, 3, H, W): a learned basis at 4 px, weighted by the latents, grown stage by stage."""

    def __init__(self, parameters: R3GANParameters, resolution: int):
        super().__init__()
        self.latent_size = parameters.latent_size
        widths = grouped_widths(resolution, parameters.width)
        self.basis = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.weigh = nn.Linear(self.latent_size, widths[0], bias=False)
        initialize_normal(self.weigh)
        self.label_features = widths[0]
        self.stages = make_stages(widths)
        self.transitions = nn.ModuleList(itertools.starmap(make_transition, itertools.pairwise(widths)))
        self.doublings = nn.ModuleList(DoubleSize(4 * 2**stage) for stage in range(len(widths) - 1))
        self.to_rgb = Conv2d(widths[-1], 3, 1, bias=False)
        initialize_normal(self.to_rgb)

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        """Returns images (B, 3, H, W), nominally in [-1, 1], of the latents (B, input_size)."""
        with full_precision(latents.device):
            weights = self.add_label_features(self.weigh(latents[:, : self.latent_size].float()), latents)  # (B, width)
            features = self.basis * weights[:, :, None, None]  # (B, width, 4, 4)
            features = features.contiguous(memory_format=torch.channels_last)
            features = self.stages[0](features)
        for transition, double, stage in zip(self.transitions, self.doublings, self.stages[1:], strict=True):
            features = stage(double(transition(features)))
        return self.to_rgb(features)  # (B, 3, H, W)


class Discriminator(DiscriminatorNetwork):
    """Images (B, 3, H, W) to logits (B,): the generator in reverse. It uses no batch statistics."""

    def __init__(self, parameters: R3GANParameters, resolution: int):
        super().__init__()
        widths = grouped_widths(resolution, parameters.width)[::-1]
        self.from_rgb = Conv2d(3, widths[0], 1, bias=False)
        self.stages = make_stages(widths)
        self.transitions = nn.ModuleList(itertools.starmap(make_transition, itertools.pairwise(widths)))
        self.halvings = nn.ModuleList(HalveSize(resolution // 2**stage) for stage in range(len(widths) - 1))
        self.gather = Conv2d(widths[-1], widths[-1], 4, groups=widths[-1], bias=False)
        self.judge = nn.Linear(widths[-1], 1, bias=False)
        for layer in (self.from_rgb, self.gather, self.judge):
            initialize_normal(layer)
        self.label_features = widths[-1]

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W): large for real ones."""
        features = self.from_rgb(images)  # (B, C, H, W)
        for stage, halve, transition in zip(self.stages[:-1], self.halvings, self.transitions, strict=True):
            features = transition(halve(stage(features)))
        with full_precision(images.device):
            features = self.stages[-1](features.float())  # (B, width, 4, 4)
            features = self.gather(features).flatten(1)  # (B, width)
            return self.project(self.judge(features).flatten(), features, labels)  # (B,)
