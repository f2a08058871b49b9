"""A step from a CUDA graph is bit-identical to the same step without one, and a step that is not is found and runs eagerly.

Without a GPU, the first test runs on a simulated one (``tests/simulated_cuda.py``), with fewer steps.
"""

import contextlib
import itertools
import math

import pytest
import torch
from simulated_cuda import simulated_cuda

from facegan.models.resnet import Discriminator
from facegan.training.hardware import Hardware, choose_hardware
from presets import KINDS, PRESETS, Constant, make_small_trainer, run_steps

HAS_GPU = torch.cuda.is_available()
BATCH = 8 if HAS_GPU else 4
STEPS = 34 if HAS_GPU else 3


@pytest.fixture
def hardware():
    with contextlib.nullcontext() if HAS_GPU else simulated_cuda():
        yield choose_hardware("cuda", "auto")
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def train(preset, hardware):
    """Returns the tensors after steps in which every rate changes."""
    trainer = make_small_trainer(preset, hardware, BATCH, penalty_interval=2 if PRESETS[preset]["train"]["penalty_interval"] > 1 else 1)
    adaptive = PRESETS[preset]["train"]["augment_strength"] == "adaptive"
    for step in range(STEPS):
        rate = 1e-3 / (1 + step)
        strength = None if adaptive else step / STEPS
        rates = {"generator_lr": rate, "discriminator_lr": 2 * rate, "betas": (0.5, 0.9 + step / 1000)}
        trainer.schedule = Constant(**rates, gamma=1 + step, strength=strength, ema_decay=1 - rate)
        trainer.train_step()
    assert (trainer.graphs is not None) == hardware.uses_graph
    assert not hardware.uses_graph or (trainer.graphs.graphs and not trainer.graphs.problem)
    if PRESETS[preset]["model"]["name"] == "r3gan":
        assert any(getattr(module, "groups", 1) > 1 for module in trainer.discriminator.modules())
    return {name: value.cpu() for name, value in trainer.tensors().items()}


@pytest.mark.parametrize("preset", KINDS.values())
def test_graph_equals_eager_execution(preset, hardware):
    eager = train(preset, Hardware(hardware.device, hardware.precision, allows_graph=False))
    for name, value in train(preset, hardware).items():
        torch.testing.assert_close(value, eager[name], rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


# a number of the host that changes, and one that is not finite
@pytest.mark.parametrize(
    ("factor", "problem"), [(lambda call: 1 + call / 100, "differs by up to"), (lambda call: math.nan, "is not finite")]
)
def test_a_wrong_first_step_is_reported_and_runs_eagerly(monkeypatch, capsys, factor, problem):
    with simulated_cuda():
        hardware = Hardware(torch.device("cuda"), torch.float32)
        forward, calls = Discriminator.forward, itertools.count(1)
        monkeypatch.setattr(Discriminator, "forward", lambda *arguments: forward(*arguments) * factor(next(calls)))
        trainer = make_small_trainer("demo", hardware, BATCH)
        run_steps(trainer, 2)
    assert trainer.graphs.problem and trainer.images_seen == 2 * BATCH
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "(generator." in printed and problem in printed
