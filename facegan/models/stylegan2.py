"""StyleGAN2, small: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN".

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) nominally in [-1, 1], for any power of two from 32 to 256. A
mapping network turns a latent z into a style w, which modulates every convolution of the synthesis network. Each resolution adds its
part of the image to an enlarged copy of the coarser image (skip connections), which replaced progressive growing. Designed for
``non_saturating`` with the penalty ``r1`` in every sixteenth step.

Weights are drawn from N(0, 1) and scaled when used (equalised learning rate), so Adam's steps have the same relative size in every layer.
Under autocast the convolutions run in its type; the mapping network, styles and the discriminator's 4 px run in float32.
"""

import itertools
import math
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from facegan.models.convolution import conv2d, conv_transpose2d
from facegan.models.layers import SumOverProcesses, count_processes, full_precision, stage_widths
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.models.parameters import StyleGAN2Parameters
from facegan.models.resampling import DoubleSize, HalveSize, Smooth

MAPPING_LAYERS = 2  # the paper has eight; two are enough for small pictures (Karras et al. 2020, StyleGAN2-ADA)
MAPPING_RATE = 0.01  # the mapping network learns at this fraction of the rate
MIXING = 0.9  # the share of training images whose finer layers get another latent's style
AVERAGE_DECAY = 0.998  # of the average style, per batch
GROUP_IMAGES = 4  # neighbours in the batch whose variation the discriminator sees
EPSILON = 1e-8


def activate(features: Tensor) -> Tensor:
    """Leaky ReLU that keeps the mean square of normal features."""
    return functional.leaky_relu(features, 0.2) * math.sqrt(2)


class Linear(nn.Module):
    """Values (B, in_channels) to (B, out_channels), at an equalised learning rate.

    Args:
        rate: multiplies the learning rate.
        bias: initial value.
    """

    def __init__(self, in_channels: int, out_channels: int, rate: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels) / rate)
        self.bias = nn.Parameter(torch.full((out_channels,), bias / rate))
        self.rate, self.gain = rate, rate / math.sqrt(in_channels)

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight * self.gain, self.bias * self.rate)


class Convolution(nn.Module):
    """Features (B, in_channels, H, W) to (B, out_channels, H, W), at an equalised learning rate."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.gain = 1 / math.sqrt(in_channels * kernel**2)

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(features, self.weight * self.gain, self.bias, padding=self.weight.shape[3] // 2)


class HalvingConvolution(Convolution):
    """Features (B, in_channels, size, size) to (B, out_channels, size / 2, size / 2): smoothed before downsampling."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, size: int, bias: bool = True):
        super().__init__(in_channels, out_channels, kernel, bias)
        self.resample = HalveSize(size) if kernel == 1 else Smooth(size, 2)
        self.stride = 1 if kernel == 1 else 2

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(self.resample(features), self.weight * self.gain, self.bias, stride=self.stride)


class ModulatedConvolution(nn.Module):
    """A convolution whose input channels each image's style scales, and whose output is scaled back to unit variance.

    Scaling features before and after is equivalent to scaling each image's weights, and needs only one convolution for the batch. Equations
    1 to 3 of the paper.

    Args:
        doubled_size: height of the result if it is twice as large as the features; None if it has the same size.
        demodulate: scale back.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, style_size: int, doubled_size: int | None = None, demodulate: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.affine = Linear(style_size, in_channels, bias=1.0)
        self.gain = 1 / math.sqrt(in_channels * kernel**2)
        self.smooth = Smooth(doubled_size + 1, 1) if doubled_size else None
        self.demodulate = demodulate

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        """Returns (B, out_channels, H, W), or twice that size, of the features (B, in_channels, H, W) and styles (B, style_size)."""
        weight = self.weight * self.gain
        with full_precision(features.device):
            scales = self.affine(styles)  # (B, in_channels)
            if self.demodulate:
                power = functional.linear(scales.square(), weight.square().sum((2, 3)))  # (B, out_channels)
                rescales = torch.rsqrt(power + EPSILON)
        features = features * scales[:, :, None, None].to(features.dtype)
        if self.smooth:
            features = conv_transpose2d(features, weight.transpose(0, 1), stride=2)  # (B, out_channels, 2H + 1, 2W + 1)
            features = 4 * self.smooth(features)
        else:
            features = conv2d(features, weight, padding=weight.shape[3] // 2)
        if self.demodulate:
            features = features * rescales[:, :, None, None].to(features.dtype)
        return features  # (B, out_channels, H, W)


class StyledLayer(nn.Module):
    """A modulated convolution, noise, a bias, an activation."""

    noise: Tensor

    def __init__(self, in_channels: int, out_channels: int, size: int, style_size: int, double: bool = False):
        super().__init__()
        self.convolution = ModulatedConvolution(in_channels, out_channels, 3, style_size, size if double else None)
        self.register_buffer("noise", torch.randn(1, 1, size, size))  # used in evaluation mode
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.size = size

    def forward(self, features: Tensor, styles: Tensor, noise: Tensor | None) -> Tensor:
        """Returns features (B, out_channels, size, size). ``noise``: normal (B, 1, size, size); None for the fixed noise."""
        features = self.convolution(features, styles)
        features = features + ((self.noise if noise is None else noise) * self.noise_strength).to(features.dtype)
        features = features + self.bias[:, None, None].to(features.dtype)
        return activate(features)


class ToRGB(nn.Module):
    """The contribution of a resolution to the image: features to (B, 3, H, W)."""

    def __init__(self, in_channels: int, style_size: int):
        super().__init__()
        self.convolution = ModulatedConvolution(in_channels, 3, 1, style_size, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        return self.convolution(features, styles).float() + self.bias[:, None, None]


class Mapping(nn.Module):
    """Latents (B, size) to styles (B, size); only the direction of a latent counts, not its length.

    Features of labels (B, size) are added to the first layer's.
    """

    def __init__(self, size: int):
        super().__init__()
        self.layers = nn.ModuleList(Linear(size, size, MAPPING_RATE) for _ in range(MAPPING_LAYERS))

    def forward(self, latents: Tensor, label_features: Tensor | None = None) -> Tensor:
        with full_precision(latents.device):
            values = latents.float()
            values = values * torch.rsqrt(values.square().mean(1, keepdim=True) + EPSILON)
            values = self.layers[0](values)
            values = activate(values if label_features is None else values + label_features)
            for layer in self.layers[1:]:
                values = activate(layer(values))
            return values


class Generator(GeneratorNetwork):
    """Latents (B, latent_size) to images (B, 3, H, W).

    In training, noise and style mixing are random inputs; in evaluation mode a latent always gives the same image.

    Attributes:
        truncation: ψ, in evaluation mode: styles are scaled to this share of their distance from the average style. 0 gives one
            face, 1 disables truncation.
    """

    average_style: Tensor

    def __init__(self, parameters: StyleGAN2Parameters, resolution: int):
        super().__init__()
        self.latent_size = self.label_features = size = parameters.latent_size
        self.truncation = 1.0
        widths = stage_widths("stylegan2", resolution, parameters.width)
        self.mapping = Mapping(size)
        self.register_buffer("average_style", torch.zeros(size))
        self.basis = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.layers = nn.ModuleList([StyledLayer(widths[0], widths[0], 4, size)])
        for stage, (wide, narrow) in enumerate(itertools.pairwise(widths), start=1):
            self.layers += [StyledLayer(wide, narrow, 4 * 2**stage, size, double=True), StyledLayer(narrow, narrow, 4 * 2**stage, size)]
        self.to_rgb = nn.ModuleList(ToRGB(width, size) for width in widths)
        self.doublings = nn.ModuleList(DoubleSize(4 * 2**stage) for stage in range(len(widths) - 1))

    def draw_noise(self, count: int, random: torch.Generator, dtype: torch.dtype) -> Noise:
        """Returns second latents for style mixing, the first layer that uses them, whether they are used, and each layer's noise."""
        device = random.device
        others = torch.randn((count, self.latent_size), generator=random, device=device)
        changes = torch.randint(1, len(self.layers) + 1, (count,), generator=random, device=device)
        is_mixed = torch.rand(count, generator=random, device=device) < MIXING
        sizes = (cast(StyledLayer, layer).size for layer in self.layers)
        noises = [torch.randn((count, 1, size, size), dtype=dtype, generator=random, device=device) for size in sizes]
        return others, changes, is_mixed, *noises

    def update_statistics(self, latents: Tensor) -> None:
        """Moves the average style towards the mean style of the batch, of whose latents (B, latent_size) are this process's share."""
        with torch.no_grad():
            total = self.map_latents(latents).sum(0)
            processes = count_processes()
            total = SumOverProcesses.apply(total) if processes > 1 else total
            self.average_style.mul_(AVERAGE_DECAY).add_(total, alpha=(1 - AVERAGE_DECAY) / (len(latents) * processes))

    def forward(self, latents: Tensor, noise: Noise = ()) -> Tensor:
        """Returns images (B, 3, H, W), nominally in [-1, 1], of the latents (B, input_size)."""
        return self.synthesize(self.choose_styles(latents, noise[:3]), noise[3:])

    def map_latents(self, latents: Tensor) -> Tensor:
        """Returns a style (B, latent_size) of each latent (B, input_size)."""
        if not self.labels.columns:
            return self.mapping(latents)
        return self.mapping(latents[:, : self.latent_size], self.map_labels(latents[:, self.latent_size :]))

    def choose_styles(self, latents: Tensor, mixing: Noise = ()) -> Tensor:
        """Returns a style per layer and image, and one for the last layer's picture: (layers + 1, B, latent_size).

        Args:
            mixing: in training, the first three tensors of ``draw_noise``: the style of ``others`` is used from layer ``changes`` on.
        """
        count = len(self.layers) + 1
        styles = self.map_latents(latents)  # (B, latent_size)
        if not self.training:
            return torch.lerp(self.average_style, styles, self.truncation).expand(count, -1, -1)
        others, changes, is_mixed = mixing
        changes = torch.where(is_mixed, changes, count)
        is_other = torch.arange(count, device=latents.device)[:, None] >= changes  # (layers + 1, B)
        if self.labels.columns:
            others = torch.cat([others, latents[:, self.latent_size :]], 1)  # with the same labels
        return torch.where(is_other[:, :, None], self.map_latents(others), styles)

    def synthesize(self, styles: Tensor, noises: Noise = ()) -> Tensor:
        """Returns images (B, 3, H, W).

        Args:
            styles: (layers + 1, B, latent_size), one per layer and image, and one for the last layer's picture.
            noises: one per layer; empty for the fixed noise.
        """
        noise = noises or [None] * len(self.layers)
        features = self.basis.expand(styles.shape[1], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        features = self.layers[0](features, styles[0], noise[0])
        images = self.to_rgb[0](features, styles[1])  # (B, 3, 4, 4)
        for stage, to_rgb in enumerate(self.to_rgb[1:], start=1):
            for layer in (2 * stage - 1, 2 * stage):
                features = self.layers[layer](features, styles[layer], noise[layer])
            with full_precision(features.device):
                images = self.doublings[stage - 1](images)
            images = images + to_rgb(features, styles[2 * stage + 1])
        return images  # (B, 3, H, W)


class ResidualBlock(nn.Module):
    """Features (B, in_channels, size, size) to (B, out_channels, size / 2, size / 2): two convolutions and a linear shortcut."""

    def __init__(self, in_channels: int, out_channels: int, size: int):
        super().__init__()
        self.first = Convolution(in_channels, in_channels, 3)
        self.second = HalvingConvolution(in_channels, out_channels, 3, size)
        self.around = HalvingConvolution(in_channels, out_channels, 1, size, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        change = activate(self.first(features))
        change = activate(self.second(change))
        return (self.around(features) + change) / math.sqrt(2)


def append_deviation(features: Tensor, group: int) -> Tensor:
    """Returns (B, C + 1, H, W): the features and one more channel, how much the images of each group of neighbours differ.

    Groups are formed over the full batch. Where a process's share is not a multiple of the group, it gathers the other processes'
    features; in one process the groups become smaller instead.
    """
    count, height, width = len(features), *features.shape[2:]
    processes = count_processes()
    is_split = count % group > 0 and processes > 1
    start = distributed.get_rank() * count if is_split else 0
    margins = [0, 0] * (features.ndim - 1) + [start, (processes - 1) * count - start]
    batch = SumOverProcesses.apply(functional.pad(features, margins)) if is_split else features
    groups = batch.unflatten(0, (-1, math.gcd(len(batch), group)))  # (groups, images, C, H, W)
    deviation = (groups.var(1, correction=0) + EPSILON).sqrt().mean((1, 2, 3))  # (groups,)
    channel = deviation[:, None, None, None, None].expand(-1, groups.shape[1], 1, height, width).flatten(0, 1)
    return torch.cat([features, channel[start : start + count] if is_split else channel], 1)


class Discriminator(DiscriminatorNetwork):
    """Images (B, 3, H, W) to logits (B,), by residual blocks; it also sees how much neighbours in the batch differ."""

    group_images = GROUP_IMAGES

    def __init__(self, parameters: StyleGAN2Parameters, resolution: int):
        super().__init__()
        widths = stage_widths("stylegan2", resolution, parameters.width)[::-1]
        self.from_rgb = Convolution(3, widths[0], 1)
        sizes = (resolution // 2**block for block in range(len(widths) - 1))
        self.blocks = nn.ModuleList(
            ResidualBlock(narrow, wide, size) for (narrow, wide), size in zip(itertools.pairwise(widths), sizes, strict=True)
        )
        self.last = Convolution(widths[-1] + 1, widths[-1], 3)
        self.gather = Linear(16 * widths[-1], widths[-1])
        self.judge = Linear(widths[-1], 1)
        self.label_features = widths[-1]

    def forward(self, images: Tensor, noise: Noise = (), labels: Tensor | None = None) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W): large for real ones."""
        features = activate(self.from_rgb(images))
        for block in self.blocks:
            features = block(features)
        with full_precision(images.device):
            features = append_deviation(features.float(), self.group_images)  # (B, width + 1, 4, 4)
            features = activate(self.last(features))
            features = activate(self.gather(features.flatten(1)))
            return self.project(self.judge(features).flatten(), features, labels, self.judge.gain)  # (B,)
