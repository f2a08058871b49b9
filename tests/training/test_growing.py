"""Networks that grow during training: the images' size, exact continuation on both sides of a growth, the dry run."""

import copy
import re

import pytest
import torch
from small_runs import Brightness
from test_step_graphs import CPU, Captured

from facegan.training.dry_run import dry_run
from facegan.training.resume import Folders
from facegan.training.trainer import Trainer
from presets import make_trainer, read_preset

BATCH = 8
SIZES = [8, 8, 16, 32, 32]  # of each step, with the growths below
MODEL = {"width": 16, "grow_images": [2 * BATCH, 3 * BATCH]}


def make_growing(hardware=CPU, **train) -> Trainer:
    images = torch.randint(256, (40, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return make_trainer("demo", hardware, images, model=MODEL, train={"batch": BATCH, **train})


def run_steps(trainer: Trainer) -> list[int]:
    """Runs the remaining steps. Returns the images' size in each."""
    sizes = []
    while trainer.images_seen < len(SIZES) * BATCH:
        trainer.train_step()
        sizes.append(trainer.size)
    return sizes


def test_size_doubles_after_the_given_numbers_of_images():
    trainer = make_growing()
    trainer.train_step()
    assert trainer.generator(trainer.control_latents).shape[-1] == 8
    assert trainer.ema_generator()(trainer.control_latents).shape[-1] == 32  # the average, at any time
    assert run_steps(trainer) == SIZES[1:]
    for name, parameter in (*trainer.generator.named_parameters(), *trainer.discriminator.named_parameters()):
        assert parameter.any() or parameter.dim() == 1, name  # every layer that started at zero has been trained


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_resumed_and_rewound_runs_end_with_the_same_bytes(steps):
    trainer, resumed = make_growing(), make_growing()
    for _ in range(steps):
        trainer.train_step()
    state = copy.deepcopy(trainer.state_dict())
    assert run_steps(trainer) == SIZES[steps:]
    expected = {name: value.clone() for name, value in trainer.tensors().items()}
    for other in (resumed, trainer):  # the second one goes back to a smaller size
        other.load_state_dict(copy.deepcopy(state))
        assert run_steps(other) == SIZES[steps:]
        for name, value in other.tensors().items():
            assert torch.equal(value, expected[name]), name


def test_graphs_of_the_other_size_are_discarded():
    trainer = make_growing(Captured(CPU.device, CPU.precision))
    trainer.train_step()
    for size, kept in ((8, True), (16, False)):
        trainer.graphs.graphs = {True: object()}
        trainer.set_size(size)
        assert bool(trainer.graphs.graphs) == kept


def test_gradients_are_clipped_before_a_network_has_grown():
    assert run_steps(make_growing(clip_value=1e-3)) == SIZES


def test_dry_run_measures_every_size(tmp_path, monkeypatch):
    sizes = []

    def measure(trainer, images_seen):
        trainer.images_seen = images_seen
        trainer.apply_schedule()
        sizes.append(trainer.size)
        return 3600 * trainer.size / 8 * trainer.parameters.batch / BATCH  # a smaller batch may be measured

    monkeypatch.setattr("facegan.training.dry_run.measure_step", measure)
    parameters = read_preset("demo", model=MODEL, train={"batch": BATCH, "images": 5 * BATCH, "device": "cpu"})
    folders = Folders(*(tmp_path / name for name in ("shards", "model", "metrics", "checkpoints")))
    text = dry_run(folders, parameters.model, parameters.train, 32, CPU, Brightness)
    assert sizes == [8, 16, 32]
    assert re.search(r"about 12 h \d+ min", text)  # 2 steps of 1 h, 1 of 2 h, 2 of 4 h
