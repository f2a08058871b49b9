"""Resampling that neither shifts nor aliases: the filter [1, 3, 3, 1] in both directions (Karras et al. 2020, StyleGAN2).

In and out: feature maps (B, C, H, W), any number of channels, each treated alike. A constant stays what it is, except within
two pixels of the border, outside which there are zeros. Pixels are squares: the picture's edges stay where they are.
"""

import torch
from torch import Tensor
from torch.nn import functional


def make_filter(features: Tensor) -> Tensor:
    """Returns the two-dimensional filter as depthwise weights (C, 1, 4, 4), in the features' type and on their device."""
    place = torch.arange(4, device=features.device, dtype=features.dtype) - 1.5
    line = (2 - place.abs()) / 4  # [1, 3, 3, 1] / 8
    return (line[:, None] * line).expand(features.shape[1], 1, 4, 4)


def double_size(features: Tensor) -> Tensor:
    """Returns features (B, C, 2H, 2W)."""
    return functional.conv_transpose2d(features, 4 * make_filter(features), stride=2, padding=1, groups=features.shape[1])


def halve_size(features: Tensor) -> Tensor:
    """Returns features (B, C, H / 2, W / 2)."""
    return functional.conv2d(features, make_filter(features), stride=2, padding=1, groups=features.shape[1])


def smooth(features: Tensor, padding: int) -> Tensor:
    """Returns features (B, C, H + 2·padding - 3, W + 2·padding - 3)."""
    return functional.conv2d(features, make_filter(features), padding=padding, groups=features.shape[1])
