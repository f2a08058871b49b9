"""What counts as an explosion: numbers that training lives on, and none that are for the reader alone."""

import math

import numpy as np
import pytest
from small_runs import SmallRuns

from facegan.common.progress import Progress
from facegan.common.shards import ShardWriter
from facegan.training.history import is_finite
from facegan.training.trainer import STEP_SUMS


def make_grey(runs, count):
    """Puts pictures that are all alike into the runs' shards."""
    with ShardWriter(runs.folders.shards, 32) as writer:
        for _ in range(count):
            writer.add("train", np.full((3, 32, 32), 100, np.uint8))
        writer.finish(crop="none", filter="lanczos", source_fingerprint="grey")


def test_pictures_that_are_all_alike_do_not_end_a_training(tmp_path, capsys):
    """Their spread is zero, so that the generated ones' spread has nothing to be compared with."""
    runs = SmallRuns(tmp_path)
    make_grey(runs, 3)
    runs.train(images=16, batch=2)
    assert "losses were infinite" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "is_fine"), [("diversity", True), ("real_sign", True), ("loss_generator", False), ("loss_discriminator", False)]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_only_losses_among_a_steps_figures_decide(tmp_path, name, is_fine, value):
    training = make_training(tmp_path)
    training.step_sums[STEP_SUMS.index(name)] = value
    assert is_finite(training) == is_fine


@pytest.mark.parametrize("role", ["generator", "discriminator", "ema"])
def test_weights_decide(tmp_path, role):
    training = make_training(tmp_path)
    weights = next(value for key, value in training.tensors().items() if key.startswith(f"{role}.") and value.is_floating_point())
    weights[(0,) * weights.dim()] = math.nan
    assert not is_finite(training)


def make_training(folder):
    runs = SmallRuns(folder)
    training, _ = runs.prepare()
    training.train_step()
    return training


def test_progress_goes_back_as_well():
    progress = Progress("training", 100, "images", quiet=True)
    progress.add(60)
    progress.add(20 - progress.done)
    assert progress.done == 20 and "20 of 100" in progress.describe(1.0)
