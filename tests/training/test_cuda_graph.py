"""On a GPU: a step from its CUDA graph changes everything to the very bits that the same step does without one.

Where there is no GPU these are skipped, and tests/training/test_capturable.py holds what can be held without.
"""

import pytest
import torch

from facegan.training.hardware import Hardware, choose_hardware
from presets import KINDS, PRESETS, Constant, make_small_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
BATCH = 8
STEPS = 34  # with lazy penalties two of a kind, and the others between them


@pytest.fixture
def hardware():
    yield choose_hardware("cuda", "auto")
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def play(preset, hardware):
    """Returns everything that changed, after steps in which every rate changes too."""
    trainer = make_small_trainer(preset, hardware, BATCH)
    adaptive = PRESETS[preset]["train"]["augment_strength"] == "adaptive"
    for step in range(STEPS):
        rate = 1e-3 / (1 + step)
        strength = None if adaptive else step / STEPS
        rates = {"generator_lr": rate, "discriminator_lr": 2 * rate, "betas": (0.5, 0.9 + step / 1000)}
        trainer.schedule = Constant(**rates, gamma=1 + step, strength=strength, ema_decay=1 - rate)
        trainer.train_step()
    assert (trainer.graphs is not None) == hardware.uses_graph
    assert not hardware.uses_graph or (trainer.graphs.graphs and not trainer.graphs.has_failed)
    if PRESETS[preset]["model"]["name"] == "r3gan":
        assert any(getattr(module, "groups", 1) > 1 for module in trainer.discriminator.modules())
    return {name: value.cpu() for name, value in trainer.tensors().items()}


@pytest.mark.parametrize("preset", KINDS.values())
def test_the_graph_does_what_its_eager_twin_does(preset, hardware):
    eager = play(preset, Hardware(hardware.device, hardware.precision, allows_graph=False))
    for name, value in play(preset, hardware).items():
        torch.testing.assert_close(value, eager[name], rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")
