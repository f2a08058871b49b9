"""A batch in pieces that fit into memory: gradient accumulation.

In: both networks and the size of a batch. Out: which images may be taken alone, and how many fit. The outcome is that of the
whole batch but for the order of floating-point sums: losses and penalties are means over images, and random numbers belong to
places in the whole batch (``facegan.models.whole_batch``). Only what takes statistics of a batch ties its images together:
StyleGAN2's discriminator compares four neighbours; batch norm needs all, so with batch norm no batch is cut.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from facegan.common.errors import FaceganError
from facegan.training.networks import Networks

PILOT_IMAGES = 8  # to measure with, and twice as many
RESERVE = 1.1  # of what a step is reckoned to need: memory has gaps, and libraries have workspaces


def find_unit(networks: Networks, penalty_stride: int, batch: int, share: int) -> int:
    """Returns how many neighbouring images have to stay together for the outcome to stay the same.

    Args:
        penalty_stride: the first of so many has a penalty.
        batch: images of the whole batch.
        share: of them, this process's.
    """
    modules = [*networks.generator.modules(), *networks.discriminator.modules()]
    if any(isinstance(module, nn.BatchNorm2d) or parametrize.is_parametrized(module) for module in modules):
        return share  # statistics of the whole batch, or a spectral norm that moves at every pass
    group = math.lcm(math.gcd(batch, getattr(networks.discriminator, "group_images", 1)), penalty_stride)
    return share if share % group else group


def check_penalty_stride(networks: Networks, penalty_stride: int, share: int, processes: int) -> None:
    """Raises FaceganError where the discriminator cannot judge some images apart, or processes would choose others than one does."""
    if penalty_stride == 1:
        return
    modules = networks.discriminator.modules()
    if hasattr(networks.discriminator, "group_images") or any(isinstance(module, nn.BatchNorm2d) for module in modules):
        raise FaceganError(
            f"train.penalty_stride: expected 1 for a discriminator that compares a batch's images; found {penalty_stride}; change it"
        )
    if processes > 1 and share % penalty_stride:
        raise FaceganError(
            f"train.penalty_stride: expected a divisor of each process's {share} images; found {penalty_stride}; change it or train.processes"
        )


def cut(share: int, microbatch: int, unit: int) -> list[slice]:
    """Returns the pieces of a share: as few as can be, as equal as can be, none larger than ``microbatch``.

    Raises:
        FaceganError: a microbatch smaller than the unit.
    """
    if microbatch >= share:
        return [slice(0, share)]
    if microbatch < unit:
        why = (
            "batch norm needs the whole batch at once"
            if unit == share
            else "the discriminator compares so many neighbours, or one of so many has a penalty"
        )
        raise FaceganError(f"train.microbatch: expected auto or at least {unit} ({why}); found {microbatch}; change it, or train.batch")
    count = math.ceil(share / (microbatch // unit * unit))
    size = math.ceil(share / count / unit) * unit
    return [slice(start, min(share, start + size)) for start in range(0, share, size)]


def choose_size(share: int, unit: int, room: float, measure: Callable[[int], float]) -> int:
    """Returns how many images at once fit, from two measurements and the line through them.

    Args:
        share: images of the batch that are this process's.
        unit: how many of them have to stay together.
        room: bytes that there are.
        measure: returns the most bytes that are taken with pieces of so many images.

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
    an_image = (more - fewer) / small
    sizes = (math.ceil(share / count / unit) * unit for count in range(1, share // unit + 1))
    return next(size for size in (*sizes, small) if size <= 2 * small or RESERVE * (fewer + an_image * (size - small)) <= room)


def fit(engine: Any, settings: Any) -> int:
    """Measures how many images a step of the engine can have before it at once on a CUDA GPU, and returns that; changes nothing.

    Args:
        engine: an ``Engine``.
        settings: of one of its steps.
    """
    share = engine.share.stop - engine.share.start
    unit = find_unit(engine.networks, engine.game.penalty_stride, engine.batch, share)
    if unit == share:
        return share
    device = engine.hardware.device
    before, pieces = {name: value.clone() for name, value in engine.tensors().items()}, engine.microbatch
    engine.set(settings)
    inputs, penalize = engine.fetch(0), engine.game.penalty != "none"

    def measure(size: int) -> float:
        engine.set_microbatch(size)
        torch.cuda.reset_peak_memory_stats(device)
        try:
            engine.run_step(inputs, penalize)
            return torch.cuda.max_memory_allocated(device)
        finally:
            engine.networks.clear_gradients()
            torch.cuda.empty_cache()

    room = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    try:
        size = choose_size(share, unit, room, measure)
    finally:
        engine.set_microbatch(pieces)
        for name, value in engine.tensors().items():
            value.copy_(before[name])
    return -engine.world.agree(-size)[0]  # the fewest that any process can
