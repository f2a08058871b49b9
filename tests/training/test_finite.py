"""Which numbers must be finite for training to continue."""

import math

import numpy as np
import pytest

from facegan.common.progress import Progress
from facegan.common.shards import ShardWriter
from facegan.training.history import is_finite
from facegan.training.trainer import STEP_SUMS


@pytest.fixture
def trainer(runs):
    trainer, _ = runs.prepare()
    trainer.train_step()
    return trainer


def test_training_works_if_all_images_are_equal(runs, capsys):
    """Their standard deviation, to which that of generated images is compared, is zero."""
    with ShardWriter(runs.folders.shards, 32) as writer:
        for _ in range(3):
            writer.add("train", np.full((3, 32, 32), 100, np.uint8))
        writer.finish(crop="none", filter="lanczos", source_fingerprint="grey")
    runs.train(images=16, batch=2)
    assert "losses were infinite" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "finite"), [("diversity", True), ("real_sign", True), ("loss_generator", False), ("loss_discriminator", False)]
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_only_the_losses_of_a_step_must_be_finite(trainer, name, finite, value):
    trainer.step_sums[STEP_SUMS.index(name)] = value
    assert is_finite(trainer) == finite


@pytest.mark.parametrize("role", ["generator", "discriminator", "ema"])
def test_weights_must_be_finite(trainer, role):
    weights = next(value for key, value in trainer.tensors().items() if key.startswith(f"{role}.") and value.is_floating_point())
    weights[(0,) * weights.dim()] = math.nan
    assert not is_finite(trainer)


def test_progress_can_decrease():
    progress = Progress("training", 100, "images", quiet=True)
    progress.add(60)
    progress.add(20 - progress.done)
    assert progress.done == 20 and "20 of 100" in progress.describe(1.0)
