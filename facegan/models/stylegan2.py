"""StyleGAN2, small: Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN".

In: latents (B, latent_size), normal. Out: images (B, 3, H, W) nominally in [-1, 1], for any power of two from 32 to 256. A
mapping network turns a latent z into a style w; every convolution of the synthesis network is modulated by it. Each
resolution adds its part of the picture to an enlarged copy of what the coarser ones made (skip connections), which is what
replaced progressive growing. Made for ``non_saturating`` with the penalty ``r1`` on every sixteenth step.

Weights are drawn from N(0, 1) and scaled as they are used (equalised learning rate), so Adam's steps mean the same in every
layer. Under autocast the convolutions run in its type; mapping, styles and what is 4 px small in the discriminator in float32.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.models import whole_batch
from facegan.models.convolution import conv2d, conv_transpose2d
from facegan.models.layers import full_precision, thinning_widths
from facegan.models.parameters import StyleGAN2Parameters
from facegan.models.resampling import DoubleSize, HalveSize, Smooth
from facegan.models.whole_batch import draw

MAPPING_LAYERS = 2  # the paper has eight; two are enough for small pictures (Karras et al. 2020, StyleGAN2-ADA)
MAPPING_RATE = 0.01  # the mapping network learns so many times as fast as the rest
MIXING = 0.9  # the share of training images whose finer layers get another latent's style
AVERAGE_DECAY = 0.998  # of the average style, a batch
GROUP_IMAGES = 4  # neighbours in the batch, among which the discriminator sees how much they differ
EPSILON = 1e-8


def activate(features: Tensor) -> Tensor:
    """Leaky ReLU that keeps the mean square of normal features."""
    return functional.leaky_relu(features, 0.2) * math.sqrt(2)


class Linear(nn.Module):
    """Values (B, entering) to (B, leaving), at an equalised learning rate.

    Args:
        rate: the layer learns so many times as fast as others.
        bias: what it starts from.
    """

    def __init__(self, entering: int, leaving: int, rate: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(leaving, entering) / rate)
        self.bias = nn.Parameter(torch.full((leaving,), bias / rate))
        self.rate, self.gain = rate, rate / math.sqrt(entering)

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight * self.gain, self.bias * self.rate)


class Convolution(nn.Module):
    """Features (B, entering, H, W) to (B, leaving, H, W), at an equalised learning rate."""

    def __init__(self, entering: int, leaving: int, kernel: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(leaving, entering, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(leaving)) if bias else None
        self.gain = 1 / math.sqrt(entering * kernel**2)

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(features, self.weight * self.gain, self.bias, padding=self.weight.shape[3] // 2)


class HalvingConvolution(Convolution):
    """Features (B, entering, size, size) to (B, leaving, size / 2, size / 2): smoothed before pixels are left out."""

    def __init__(self, entering: int, leaving: int, kernel: int, size: int, bias: bool = True):
        super().__init__(entering, leaving, kernel, bias)
        self.resample = HalveSize(size) if kernel == 1 else Smooth(size, 2)
        self.stride = 1 if kernel == 1 else 2

    def forward(self, features: Tensor) -> Tensor:
        return conv2d(self.resample(features), self.weight * self.gain, self.bias, stride=self.stride)


class ModulatedConvolution(nn.Module):
    """A convolution whose input channels each image's style scales, and whose output is scaled back to unit variance.

    Scaling features before and after is the same as scaling each image's weights, and leaves one convolution for the whole
    batch. The paper's equations 1 to 3.

    Args:
        doubled_size: the result is twice as large as the features, and so many pixels high; None: as large as they are.
        demodulate: scale back.
    """

    def __init__(self, entering: int, leaving: int, kernel: int, style_size: int, doubled_size: int | None = None, demodulate: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(leaving, entering, kernel, kernel))
        self.affine = Linear(style_size, entering, bias=1.0)
        self.gain = 1 / math.sqrt(entering * kernel**2)
        self.smooth = Smooth(doubled_size + 1, 1) if doubled_size else None
        self.demodulate = demodulate

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        """Returns (B, leaving, H, W), or twice that size, of the features (B, entering, H, W) and styles (B, style_size)."""
        weight = self.weight * self.gain
        with full_precision(features.device):
            scales = self.affine(styles)  # (B, entering)
            if self.demodulate:
                power = functional.linear(scales.square(), weight.square().sum((2, 3)))  # (B, leaving)
                rescales = torch.rsqrt(power + EPSILON)
        features = features * scales[:, :, None, None].to(features.dtype)
        if self.smooth:
            features = conv_transpose2d(features, weight.transpose(0, 1), stride=2)  # (B, leaving, 2H + 1, 2W + 1)
            features = 4 * self.smooth(features)
        else:
            features = conv2d(features, weight, padding=weight.shape[3] // 2)
        if self.demodulate:
            features = features * rescales[:, :, None, None].to(features.dtype)
        return features  # (B, leaving, H, W)


class StyledLayer(nn.Module):
    """A modulated convolution, noise, a bias, an activation."""

    def __init__(self, entering: int, leaving: int, size: int, style_size: int, double: bool = False):
        super().__init__()
        self.convolution = ModulatedConvolution(entering, leaving, 3, style_size, size if double else None)
        self.register_buffer("noise", torch.randn(1, 1, size, size))  # where chance has no place
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(leaving))

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        features = self.convolution(features, styles)
        noise = self.draw_noise(features) if self.training else self.noise
        features = features + (noise * self.noise_strength).to(features.dtype)
        features = features + self.bias[:, None, None].to(features.dtype)
        return activate(features)

    def draw_noise(self, features: Tensor) -> Tensor:
        """Returns normal noise (B, 1, H, W) in the features' type."""
        size, dtype, device = features.shape[2:], features.dtype, features.device
        return draw(lambda count: torch.randn((count, 1, *size), dtype=dtype, device=device), len(features))


class ToRGB(nn.Module):
    """What a resolution contributes to the picture: features to (B, 3, H, W)."""

    def __init__(self, entering: int, style_size: int):
        super().__init__()
        self.convolution = ModulatedConvolution(entering, 3, 1, style_size, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, features: Tensor, styles: Tensor) -> Tensor:
        return self.convolution(features, styles).float() + self.bias[:, None, None]


class Mapping(nn.Module):
    """Latents (B, size) to styles (B, size); a latent's length says nothing, its direction alone counts."""

    def __init__(self, size: int):
        super().__init__()
        self.layers = nn.ModuleList(Linear(size, size, MAPPING_RATE) for _ in range(MAPPING_LAYERS))

    def forward(self, latents: Tensor) -> Tensor:
        with full_precision(latents.device):
            values = latents.float()
            values = values * torch.rsqrt(values.square().mean(1, keepdim=True) + EPSILON)
            for layer in self.layers:
                values = activate(layer(values))
            return values


class Generator(nn.Module):
    """Latents (B, latent_size) to images (B, 3, H, W).

    In training, noise and the mixing of styles come from the device's default random generator; otherwise a latent always
    gives the same image.

    Attributes:
        truncation: ψ, outside training: styles stand so far from the average style, times their own distance. 0 gives one
            face, 1 is none.
    """

    latent_distribution = "normal"

    def __init__(self, parameters: StyleGAN2Parameters, resolution: int):
        super().__init__()
        self.latent_size = size = parameters.latent_size
        self.truncation = 1.0
        widths = thinning_widths("stylegan2", resolution, parameters.width)
        self.mapping = Mapping(size)
        self.register_buffer("average_style", torch.zeros(size))
        self.basis = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.layers = nn.ModuleList([StyledLayer(widths[0], widths[0], 4, size)])
        for stage, (wide, narrow) in enumerate(itertools.pairwise(widths), start=1):
            self.layers += [StyledLayer(wide, narrow, 4 * 2**stage, size, double=True), StyledLayer(narrow, narrow, 4 * 2**stage, size)]
        self.to_rgb = nn.ModuleList(ToRGB(width, size) for width in widths)
        self.doublings = nn.ModuleList(DoubleSize(4 * 2**stage) for stage in range(len(widths) - 1))

    def forward(self, latents: Tensor) -> Tensor:
        """Returns images (B, 3, H, W), nominally in [-1, 1], of the latents (B, latent_size)."""
        return self.synthesize(self.choose_styles(latents))

    def synthesize(self, styles: Tensor) -> Tensor:
        """Returns images (B, 3, H, W) of a style for each layer and image, and one more for the last layer's picture: (layers + 1, B, latent_size)."""
        features = self.basis.expand(styles.shape[1], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        features = self.layers[0](features, styles[0])
        images = self.to_rgb[0](features, styles[1])  # (B, 3, 4, 4)
        for stage, to_rgb in enumerate(self.to_rgb[1:], start=1):
            features = self.layers[2 * stage - 1](features, styles[2 * stage - 1])
            features = self.layers[2 * stage](features, styles[2 * stage])
            with full_precision(features.device):
                images = self.doublings[stage - 1](images)
            images = images + to_rgb(features, styles[2 * stage + 1])
        return images  # (B, 3, H, W)

    def choose_styles(self, latents: Tensor) -> Tensor:
        """Returns a style for each layer and image, and one more for the last layer's picture: (layers + 1, B, latent_size)."""
        count = len(self.layers) + 1
        styles = self.mapping(latents)  # (B, latent_size)
        if not self.training:
            return torch.lerp(self.average_style, styles, self.truncation).expand(count, -1, -1)
        self.follow(styles.detach())
        images, device = len(latents), latents.device
        others = self.mapping(draw(lambda number: torch.randn((number, self.latent_size), device=device), images))
        changes = draw(lambda number: torch.randint(1, count, (number,), device=device), images)  # the first layer with the other style
        is_mixed = draw(lambda number: torch.rand(number, device=device), images) < MIXING
        changes = torch.where(is_mixed, changes, count)
        is_other = torch.arange(count, device=latents.device)[:, None] >= changes  # (layers + 1, B)
        return torch.where(is_other[:, :, None], others, styles)

    def follow(self, styles: Tensor) -> None:
        """Moves the average style towards the mean of the whole batch's styles, of which (B, latent_size) are at hand."""
        if whole_batch.is_repeat():
            return
        total = styles.sum(0)
        if whole_batch.is_shared():
            total = whole_batch.SumOverProcesses.apply(total)
        if whole_batch.is_first():
            self.average_style.mul_(AVERAGE_DECAY)
        self.average_style.add_(total, alpha=(1 - AVERAGE_DECAY) / whole_batch.count_whole_batch(len(styles)))


class ResidualBlock(nn.Module):
    """Features (B, entering, size, size) to (B, leaving, size / 2, size / 2): two convolutions, and a linear way around them."""

    def __init__(self, entering: int, leaving: int, size: int):
        super().__init__()
        self.first = Convolution(entering, entering, 3)
        self.second = HalvingConvolution(entering, leaving, 3, size)
        self.around = HalvingConvolution(entering, leaving, 1, size, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        change = activate(self.first(features))
        change = activate(self.second(change))
        return (self.around(features) + change) / math.sqrt(2)


def append_deviation(features: Tensor) -> Tensor:
    """Returns (B, C + 1, H, W): one more channel, how much the images in each group of four neighbours differ.

    A batch that fours do not divide is grouped in twos or ones. The groups are those of the whole batch: of neighbours, so that a
    process mostly has them to itself; where its share cuts through them, it gathers the others' features.
    """
    height, width = features.shape[2:]
    group = math.gcd(whole_batch.count_whole_batch(len(features)), GROUP_IMAGES)
    is_cut = len(features) % group > 0
    groups = (whole_batch.gather(features) if is_cut else features).unflatten(0, (-1, group))  # (groups, images, C, H, W)
    deviation = (groups.var(1, correction=0) + EPSILON).sqrt().mean((1, 2, 3))  # (groups,)
    channel = deviation[:, None, None, None, None].expand(-1, group, 1, height, width).flatten(0, 1)  # (B, 1, H, W)
    return torch.cat([features, whole_batch.narrow(channel) if is_cut else channel], 1)


class Discriminator(nn.Module):
    """Images (B, 3, H, W) to logits (B,), by residual blocks; it also sees how much neighbours in the batch differ.

    Attributes:
        group_images: so many neighbours have to stay together where a batch is taken in pieces.
    """

    group_images = GROUP_IMAGES

    def __init__(self, parameters: StyleGAN2Parameters, resolution: int):
        super().__init__()
        widths = thinning_widths("stylegan2", resolution, parameters.width)[::-1]
        self.from_rgb = Convolution(3, widths[0], 1)
        sizes = (resolution // 2**block for block in range(len(widths) - 1))
        self.blocks = nn.ModuleList(
            ResidualBlock(narrow, wide, size) for (narrow, wide), size in zip(itertools.pairwise(widths), sizes, strict=True)
        )
        self.last = Convolution(widths[-1] + 1, widths[-1], 3)
        self.gather = Linear(16 * widths[-1], widths[-1])
        self.judge = Linear(widths[-1], 1)

    def forward(self, images: Tensor) -> Tensor:
        """Returns logits (B,) of the images (B, 3, H, W): large for real ones."""
        features = activate(self.from_rgb(images))
        for block in self.blocks:
            features = block(features)
        with full_precision(images.device):
            features = append_deviation(features.float())  # (B, width + 1, 4, 4)
            features = activate(self.last(features))
            features = activate(self.gather(features.flatten(1)))
            return self.judge(features).flatten()  # (B,)
