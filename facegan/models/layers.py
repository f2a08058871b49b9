"""Layers that several architectures share."""

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils.parametrizations import spectral_norm

from facegan.common.errors import FaceganError
from facegan.models.whole_batch import SumOverProcesses, draw, is_shared


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose statistics are those of the whole batch, also when several processes share it.

    PyTorch's SyncBatchNorm does the same on CUDA alone, and cannot be differentiated twice; gradient penalties need that.
    In one process, or where ``shared`` is false, this is ``nn.BatchNorm2d`` itself.
    """

    shared = True

    def forward(self, images: Tensor) -> Tensor:
        """Returns images or activations (B, C, H, W) with zero mean and unit variance a channel, then scaled and shifted."""
        if not (self.shared and self.training and is_shared()):
            return super().forward(images)
        dtype, images = images.dtype, images.float()
        count = images.numel() // images.shape[1] * distributed.get_world_size()
        mean = SumOverProcesses.apply(images.sum((0, 2, 3))) / count  # (C,)
        centred = images - mean[:, None, None]
        variance = SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count  # (C,)
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = 1 / self.num_batches_tracked.float() if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / (count - 1), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(dtype)


class Dropout(nn.Dropout):
    """``nn.Dropout`` whose choice is that of the whole batch, also where a piece of it is at hand."""

    def forward(self, features: Tensor) -> Tensor:
        """Returns the features (B, …), a share ``p`` of them zero while it trains, the others larger by 1 / (1 - p)."""
        if not self.training or self.p == 0:
            return features
        layout = (
            torch.channels_last
            if features.ndim == 4 and features.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )

        def choose(count: int) -> Tensor:
            kept = torch.empty((count, *features.shape[1:]), dtype=features.dtype, device=features.device, memory_format=layout)
            return kept.bernoulli_(1 - self.p)

        return features * (draw(choose, len(features)) / (1 - self.p))


class InFullPrecision(nn.Module):
    """A parametrisation that is computed in float32, also under autocast, which on CUDA would round its matrix products."""

    def __init__(self, parametrization: nn.Module):
        super().__init__()
        self.parametrization = parametrization

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight.device):
            return self.parametrization(weight)


def normalize_spectrum(layer: nn.Module) -> nn.Module:
    """Returns the layer with its weight divided by its largest singular value (Miyato et al. 2018), in float32."""
    layer = spectral_norm(layer)
    (norm,) = layer.parametrizations.weight
    layer.parametrizations.weight[0] = InFullPrecision(norm)
    return layer


def unshare_batch_norm(network: nn.Module) -> None:
    """Lets the network's batch norms see this process's images alone."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.shared = False


def is_power_of_two(number: int) -> bool:
    """Returns whether the number is 1, 2, 4, 8, …"""
    return number > 0 and number & (number - 1) == 0


def thinning_widths(model: str, resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px up to the resolution: ``width`` up to 32 px, then half as many at each doubling.

    Raises:
        FaceganError: a resolution that is no power of two from 32 to 256, or a width that cannot be halved so often.
    """
    if not (is_power_of_two(resolution) and 32 <= resolution <= 256):
        raise FaceganError(f"{model}: expected a resolution of 32, 64, 128 or 256; found {resolution}; set preprocess.resolution")
    thinnest = resolution // 32
    if width % thinnest:
        raise FaceganError(f"model.width: expected a multiple of {thinnest} for {model} at {resolution} px; found {width}; change it")
    sizes = [4 * 2**stage for stage in range(resolution.bit_length() - 2)]
    return [width // max(1, size // 32) for size in sizes]


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Returns a context in which float32 stays float32, also under autocast."""
    if device.type == "meta":  # has no autocast
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def initialize_as_keras(network: nn.Module) -> None:
    """Draws weights uniformly as Glorot and Bengio 2010 do, biases zero: what Keras and TensorFlow do when nothing is said."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
