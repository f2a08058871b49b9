"""Resampling that neither shifts nor aliases: the filter [1, 3, 3, 1] in both directions (Karras et al. 2020, StyleGAN2).

In and out: square feature maps (B, C, H, H) with any number of channels. A constant is preserved, except within two pixels of the border,
beyond which there are zeros. The edges of the image do not move.

Each direction is one product with a banded matrix; depthwise convolutions take several times as long in bfloat16 on a CPU, mostly for their
derivatives. The matrix is not saved with the network.
"""

import torch
from torch import Tensor, nn


class Resampling(nn.Module):
    """Multiplies rows and columns by ``matrix`` (size out, size in)."""

    matrix: Tensor

    def __init__(self, matrix: Tensor):
        super().__init__()
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Returns features (B, C, H', H') of features (B, C, H, H), in their own type."""
        matrix = self.matrix.to(features.dtype)  # eighths and quarters, exact in every type
        batch, channels, size, _ = features.shape
        lines = matrix @ features.permute(0, 2, 3, 1).reshape(batch, size, size * channels)  # (B, H', H·C): channels-last, so no copy
        points = matrix @ lines.reshape(-1, size, channels)  # (B·H', H', C)
        return points.reshape(batch, len(matrix), len(matrix), channels).permute(0, 3, 1, 2)


class DoubleSize(Resampling):
    """Features (B, C, H, H) to (B, C, 2H, 2H), for H = ``size``."""

    def __init__(self, size: int):
        super().__init__(2 * make_rows(2 * size, 2, 1).T)


class HalveSize(Resampling):
    """Features (B, C, H, H) to (B, C, H / 2, H / 2), for H = ``size``."""

    def __init__(self, size: int):
        super().__init__(make_rows(size, 2, 1))


class Smooth(Resampling):
    """Features (B, C, H, H) to (B, C, H + 2·padding - 3, H + 2·padding - 3), for H = ``size``."""

    def __init__(self, size: int, padding: int):
        super().__init__(make_rows(size, 1, padding))


def make_rows(size: int, stride: int, padding: int) -> Tensor:
    """Returns the filter as a matrix (size out, size): a row for each value out."""
    count = (size + 2 * padding - 4) // stride + 1
    centre = stride * torch.arange(count, dtype=torch.float32) - padding + 1.5
    distance = (torch.arange(size, dtype=torch.float32) - centre[:, None]).abs()
    return ((2 - distance) / 4).clamp(min=0)  # [1, 3, 3, 1] / 8 around each centre
