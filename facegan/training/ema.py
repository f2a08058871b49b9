"""The exponential moving average (EMA) of the generator's weights, which is sampled, scored and published."""

from typing import Any, cast

import torch
from torch import Tensor, nn

CALIBRATION_BATCHES = 8
CALIBRATION_BATCH = 64


def decay_factor(batch: int, halflife_images: float) -> float:
    """Returns the decay of one step: the old average has weight ½ after ``halflife_images`` images."""
    return 0.5 ** (batch / max(halflife_images, 1e-8))


def update_ema(ema: nn.Module, generator: nn.Module, decay: Tensor) -> None:
    """Moves the average towards the generator: ema ← decay · ema + (1 - decay) · generator; buffers are copied.

    Args:
        decay: a 0-dim tensor on the training device.
    """
    with torch.no_grad():
        averages: list[Tensor] = list(ema.parameters())
        weights: list[Tensor] = list(generator.parameters())
        if decay.device.type == "cpu":
            torch._foreach_lerp_(averages, weights, cast(Any, [1 - decay] * len(weights)))  # one rounding fewer than below
        else:
            move_together(averages, weights, 1 - decay)
        buffers = list(ema.buffers())
        if buffers:
            torch._foreach_copy_(buffers, list(generator.buffers()))


def move_together(averages: list[Tensor], weights: list[Tensor], share: Tensor) -> None:
    """Moves the averages by ``share`` (a 0-dim tensor) towards the weights: three kernels in all, where ``lerp`` needs one per tensor."""
    changes = torch._foreach_sub(weights, averages)
    torch._foreach_mul_(changes, share)
    torch._foreach_add_(averages, changes)


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
