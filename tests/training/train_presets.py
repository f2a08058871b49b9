"""Runs a few steps of each kind of preset in one of several processes, for tests that compare the results.

python tests/training/train_presets.py OUT    # with torchrun's environment variables; the main process writes OUT
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

import torch  # noqa: E402 (the paths above must come first)

from facegan.training.hardware import choose_hardware  # noqa: E402
from facegan.training.launcher import join_world, leave_world  # noqa: E402
from presets import PRESETS, VARIANTS, make_small_trainer, run_steps  # noqa: E402

PROCESSES, STEPS = 4, 3


def choose_batch(preset: str) -> int:
    """Returns a batch size for which each process has two images, less than a group of neighbours, or one group with a penalty."""
    stride = PRESETS[preset]["train"]["penalty_stride"]
    return PROCESSES * (2 if stride == 1 else stride)


if __name__ == "__main__":
    hardware = choose_hardware("cpu", "fp32")
    world = join_world(hardware.device)
    outcomes = {
        (name, labelled): run_steps(make_small_trainer(name, hardware, choose_batch(name), world, labelled), STEPS)
        for name, labelled in VARIANTS
    }
    if world.is_main:
        torch.save(outcomes, sys.argv[1])
    leave_world(world)
