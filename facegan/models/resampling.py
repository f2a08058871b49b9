"""Resampling that neither shifts nor aliases: the filter [1, 3, 3, 1] in both directions (Karras et al. 2020, StyleGAN2).

In and out: feature maps (B, C, H, W), any number of channels, each treated alike. A constant stays what it is, except within
two pixels of the border, outside which there are zeros. Pixels are squares: the picture's edges stay where they are.

Each direction is one product with a banded matrix: as depthwise convolutions the same sums take several times as long in
bfloat16 on a CPU, most of it in their derivatives.
"""

import torch
from torch import Tensor


def make_rows(size: int, stride: int, padding: int, features: Tensor) -> Tensor:
    """Returns the filter as a matrix (size out, size), in the features' type and on their device: a row for each value out."""
    count = (size + 2 * padding - 4) // stride + 1
    place = torch.arange(size, device=features.device, dtype=torch.float32)
    centre = stride * torch.arange(count, device=features.device, dtype=torch.float32) - padding + 1.5
    return ((2 - (place - centre[:, None]).abs()) / 4).clamp(min=0).to(features.dtype)  # [1, 3, 3, 1] / 8 around each centre


def multiply(features: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Returns features (B, C, H', W') of features (B, C, H, W) and matrices (H', H) and (W', W)."""
    batch, channels, height, width = features.shape
    lines = down @ features.permute(0, 2, 3, 1).reshape(batch, height, width * channels)  # (B, H', W·C): channels-last, so no copy
    points = across @ lines.reshape(-1, width, channels)  # (B·H', W', C)
    return points.reshape(batch, len(down), len(across), channels).permute(0, 3, 1, 2)


def double_size(features: Tensor) -> Tensor:
    """Returns features (B, C, 2H, 2W)."""
    return multiply(features, *(2 * make_rows(2 * size, 2, 1, features).T for size in features.shape[2:]))


def halve_size(features: Tensor) -> Tensor:
    """Returns features (B, C, H / 2, W / 2)."""
    return multiply(features, *(make_rows(size, 2, 1, features) for size in features.shape[2:]))


def smooth(features: Tensor, padding: int) -> Tensor:
    """Returns features (B, C, H + 2·padding - 3, W + 2·padding - 3)."""
    return multiply(features, *(make_rows(size, 1, padding, features) for size in features.shape[2:]))
