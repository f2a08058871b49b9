"""Layers that several architectures share."""

import contextlib
import math
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils.parametrizations import spectral_norm

from facegan.common.errors import FaceganError

CALIBRATION_BATCHES, CALIBRATION_BATCH = 8, 64


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Its derivative is the sum of theirs, so it can be differentiated any number of times."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(context: Any, gradients: Tensor) -> Tensor:
        return SumOverProcesses.apply(gradients)


def count_processes() -> int:
    """Returns the number of processes that share each batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of the full batch, also when several processes share it.

    PyTorch's SyncBatchNorm works on CUDA only and cannot be differentiated twice, as gradient penalties require. In one process, or
    where ``shared`` is false, this is ``nn.BatchNorm2d``.
    """

    shared = True

    def forward(self, images: Tensor) -> Tensor:
        """Returns activations (B, C, H, W) normalised to zero mean and unit variance per channel, then scaled and shifted."""
        processes = count_processes()
        if not (self.shared and self.training) or processes == 1:
            return super().forward(images)
        dtype, images = images.dtype, images.float()
        count = images.numel() // images.shape[1] * processes
        mean = SumOverProcesses.apply(images.sum((0, 2, 3))) / count  # (C,)
        centred = images - mean[:, None, None]
        variance = SumOverProcesses.apply(centred.square().sum((0, 2, 3))) / count  # (C,)
        with torch.no_grad():
            batches, running_mean, running_var = map(cast(Any, self.get_buffer), ("num_batches_tracked", "running_mean", "running_var"))
            batches += 1
            momentum = 1 / batches.float() if self.momentum is None else self.momentum
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * count / (count - 1), momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(dtype)


class Dropout(nn.Module):
    """Dropout whose mask is an input: features (B, …) are multiplied by it, and by 1 / (1 - rate)."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def draw_mask(self, count: int, shape: tuple[int, ...], random: torch.Generator, dtype: torch.dtype, channels_last: bool) -> Tensor:
        """Returns a mask (count, *shape) of zeros and ones.

        Args:
            channels_last: the memory layout of the features; PyTorch draws the numbers in the order in which they are stored.
        """
        layout = torch.channels_last if channels_last else torch.contiguous_format
        mask = torch.empty((count, *shape), dtype=dtype, device=random.device, memory_format=layout)
        return mask.bernoulli_(1 - self.rate, generator=random)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the features, some of them zero, in training; unchanged in evaluation mode or at rate 0.

        Raises:
            ValueError: no mask in training.
        """
        if not self.training or not self.rate:
            return features
        if mask is None:
            raise ValueError("expected the random numbers of draw_noise in training; found none")
        return features * (mask / (1 - self.rate))


def apply_layers(layers: nn.Sequential, features: Tensor, masks: tuple[Tensor, ...]) -> Tensor:
    """Returns the features after all layers; each ``Dropout`` gets the next mask."""
    remaining = iter(masks)
    for layer in layers:
        features = layer(features, next(remaining, None)) if isinstance(layer, Dropout) else layer(features)
    return features


class InFullPrecision(nn.Module):
    """A parametrisation that is computed in float32 under autocast too, which on CUDA would round its matrix products."""

    def __init__(self, parametrization: nn.Module):
        super().__init__()
        self.parametrization = parametrization

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight.device):
            return self.parametrization(weight)


def normalize_spectrum(layer: nn.Module) -> nn.Module:
    """Returns the layer with its weight divided by its largest singular value (Miyato et al. 2018), in float32."""
    layer = spectral_norm(layer)
    parametrizations = cast(nn.ModuleDict, layer.parametrizations)["weight"]
    (norm,) = cast(nn.ModuleList, parametrizations)
    cast(nn.ModuleList, parametrizations)[0] = InFullPrecision(norm)
    return layer


def unshare_batch_norm(network: nn.Module) -> None:
    """Makes the network's batch norms use the images of this process only."""
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.shared = False


def stage_sizes(model: str, resolution: int) -> list[int]:
    """Returns 4, 8, 16, … px up to the resolution. Raises FaceganError unless the resolution is 32, 64, 128 or 256."""
    if resolution not in (32, 64, 128, 256):
        raise FaceganError(f"{model}: expected a resolution of 32, 64, 128 or 256; found {resolution}; set preprocess.resolution")
    return [4 * 2**stage for stage in range(resolution.bit_length() - 2)]


def stage_widths(model: str, resolution: int, width: int) -> list[int]:
    """Returns the channels at 4, 8, 16, … px up to the resolution: ``width`` up to 32 px, then half as many at each doubling.

    Raises:
        FaceganError: a resolution other than 32, 64, 128 or 256, or a width that cannot be halved that often.
    """
    sizes = stage_sizes(model, resolution)
    divisor = max(1, resolution // 32)
    if width % divisor:
        raise FaceganError(f"model.width: expected a multiple of {divisor} for {model} at {resolution} px; found {width}; change it")
    return [width // max(1, size // 32) for size in sizes]


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Returns a context in which float32 stays float32, also under autocast."""
    if device.type == "meta":  # has no autocast
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def initialize_normal(layer: nn.Linear | nn.Conv2d, gain: float = 1.0) -> None:
    """Draws weights from N(0, gain / √fan_in); biases are zero."""
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def initialize_as_keras(network: nn.Module) -> None:
    """Draws weights uniformly as Glorot and Bengio 2010 do, with zero biases: the default of Keras and TensorFlow."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def recalibrate_batch_norm(network: nn.Module, latents: Tensor) -> None:
    """Estimates batch norm's statistics for averaged weights; does nothing to a network without batch norm.

    The running statistics are those of the raw generator's activations. With averaged weights they are wrong, and faces look grey and
    washed out, although distances may even improve.

    Args:
        latents: (N, latent_size); their activations' mean and variance become the statistics.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    with torch.no_grad():
        for batch in latents.split(CALIBRATION_BATCH):
            network(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
