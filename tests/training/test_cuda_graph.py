"""On a GPU, a step with a CUDA graph is bit-identical to the same step without one.

Without a GPU these tests are skipped; tests/training/test_capturable.py checks what can be checked without one.
"""

import pytest
import torch

from facegan.training.hardware import Hardware, choose_hardware
from presets import KINDS, PRESETS, Constant, make_small_trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="requires a CUDA GPU")
BATCH = 8
STEPS = 34  # with lazy penalties: two with a penalty, and those between them


@pytest.fixture
def hardware():
    yield choose_hardware("cuda", "auto")
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def train(preset, hardware):
    """Returns the tensors after steps in which every rate changes."""
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
def test_graph_equals_eager_execution(preset, hardware):
    eager = train(preset, Hardware(hardware.device, hardware.precision, allows_graph=False))
    for name, value in train(preset, hardware).items():
        torch.testing.assert_close(value, eager[name], rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")
