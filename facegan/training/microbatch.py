"""Microbatches: a batch in pieces that fit into memory, with gradient accumulation.

The result is that of the full batch except for the order of floating-point sums: losses and penalties are means over images, and random
numbers are drawn for the full batch. Only batch statistics tie images together: StyleGAN2's discriminator compares four neighbours; batch
norm needs all images, so with batch norm a batch is not split.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from facegan.common.errors import FaceganError
from facegan.models.layers import BatchNorm2d
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork
from facegan.training.processes import World

if TYPE_CHECKING:
    from facegan.training.trainer import Trainer

PILOT_IMAGES = 8  # first measurement; the second one uses twice as many
RESERVE = 1.1  # of the estimated memory: allocators have gaps, and libraries have workspaces


def find_unit(generator: GeneratorNetwork, discriminator: DiscriminatorNetwork, penalty_stride: int, share: int) -> int:
    """Returns how many neighbouring images must stay together for the result to stay the same. ``share``: this process's images."""
    modules = [*generator.modules(), *discriminator.modules()]
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) or parametrize.is_parametrized(module) for module in modules):
        return share  # batch statistics, or a spectral norm that changes with every pass
    group = math.lcm(discriminator.group_images, penalty_stride)
    return share if share % group else group


def check_networks(
    generator: GeneratorNetwork, discriminator: DiscriminatorNetwork, penalty_stride: int, share: int, processes: int
) -> None:
    """Raises FaceganError for networks or a penalty stride whose result would depend on how a batch is split."""
    for module in [*generator.modules(), *discriminator.modules()]:
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, BatchNorm2d) and processes > 1:
            found = type(module).__name__
            raise FaceganError(f"expected batch norm that processes share; found {found}; use facegan.models.layers.BatchNorm2d")
    compares = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules())
    if penalty_stride > 1 and (compares or type(discriminator).group_images > 1):
        problem = "expected 1 for a discriminator that compares a batch's images"
        raise FaceganError(f"train.penalty_stride: {problem}; found {penalty_stride}; change it")
    if processes > 1 and share % penalty_stride:
        problem = f"expected a divisor of each process's {share} images"
        raise FaceganError(f"train.penalty_stride: {problem}; found {penalty_stride}; change it or train.processes")


def split(share: int, microbatch: int, unit: int) -> list[slice]:
    """Returns the microbatches of a share: as few and as equal as possible, none larger than ``microbatch``.

    Raises:
        FaceganError: a microbatch smaller than the unit.
    """
    if microbatch >= share:
        return [slice(0, share)]
    if microbatch < unit:
        raise FaceganError(
            f"train.microbatch: expected auto or at least {unit} (the discriminator compares neighbouring images, or batch norm needs the "
            f"full batch); found {microbatch}; change it, or train.batch"
        )
    count = math.ceil(share / (microbatch // unit * unit))
    size = math.ceil(share / count / unit) * unit
    return [slice(start, min(share, start + size)) for start in range(0, share, size)]


def choose_size(share: int, unit: int, room: float, measure: Callable[[int], float]) -> int:
    """Returns the largest microbatch that fits, extrapolated linearly from two measurements.

    Args:
        share: this process's images.
        unit: images that must stay together.
        room: bytes of memory.
        measure: returns the peak memory in bytes of a step with a given microbatch.

    Raises:
        torch.OutOfMemoryError: not even a unit fits.
    """
    small = max(unit, min(PILOT_IMAGES, share // 2) // unit * unit)
    try:
        fewer = measure(small)
    except torch.OutOfMemoryError:
        if small == unit:
            raise
        small = unit
        fewer = measure(small)
    try:
        more = measure(min(2 * small, share))
    except torch.OutOfMemoryError:
        return small
    if 2 * small >= share:
        return share
    per_image = (more - fewer) / small
    sizes = (math.ceil(share / count / unit) * unit for count in range(1, share // unit + 1))
    return next(size for size in (*sizes, small) if size <= 2 * small or RESERVE * (fewer + per_image * (size - small)) <= room)


def fit(trainer: Trainer) -> int:
    """Measures on a CUDA GPU how many images the networks can process at the same time, and returns that; changes nothing.

    All processes call it. Each measures alone, because a GPU with less memory takes other steps; the result is the smallest of them.

    Raises:
        torch.OutOfMemoryError: on some process, not even the images that must stay together fit.
    """
    share = trainer.own_rows.stop - trainer.own_rows.start
    unit = find_unit(trainer.generator, trainer.discriminator, trainer.game.penalty_stride, share)
    if unit == share:
        return share
    device, world, size_before = trainer.hardware.device, trainer.world, trainer.microbatch
    before = {name: value.clone() for name, value in trainer.tensors().items()}
    trainer.apply_schedule()
    trainer.set_size(trainer.index.resolution)  # of a network that grows: the size that needs most memory
    images, penalize = trainer.fetch(), trainer.game.penalty != "none"

    def measure(size: int) -> float:
        trainer.set_microbatch(size)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            trainer.run_updates(images, penalize)
            return torch.cuda.max_memory_allocated(device)
        finally:
            trainer.clear_gradients()
            torch.cuda.empty_cache()

    room = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    trainer.world = World()
    try:
        size = choose_size(share, unit, room, measure)
    except torch.OutOfMemoryError:
        size = 0
    finally:
        trainer.world = world
        trainer.set_microbatch(size_before)
        for name, value in trainer.tensors().items():
            value.copy_(before[name])
    size = -world.agree(-size)[0]
    if not size:
        raise torch.OutOfMemoryError(f"CUDA out of memory: expected room for {unit} images of {trainer.index.resolution} pixels")
    return size
