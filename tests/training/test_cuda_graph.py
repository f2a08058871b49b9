"""On a GPU: a step from its CUDA graph changes everything to the very bits that the same step does without one.

Where there is no GPU these are skipped, and tests/training/test_capturable.py holds what can be held without.
"""

import pytest
import torch

from facegan.training.engine import Hardware, Settings, choose_hardware
from presets import KINDS, PRESETS, SIZES, make_engine

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
    width, resolution = SIZES[PRESETS[preset]["model"]["name"]]
    images = torch.randint(256, (40, 3, resolution, resolution), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    engine = make_engine(preset, hardware, images, BATCH, capturable=True, model={"width": width})
    adaptive = PRESETS[preset]["train"]["augment_strength"] == "adaptive"
    for step in range(STEPS):
        rate = 1e-3 / (1 + step)
        strength = None if adaptive else step / STEPS
        engine.step(
            step * BATCH, 0, Settings(rate, 2 * rate, (0.5, 0.9 + step / 1000), gamma=1 + step, strength=strength, ema_decay=1 - rate)
        )
    assert (engine.graphs is not None) == hardware.uses_graph
    assert not hardware.uses_graph or (engine.graphs.graphs and not engine.graphs.has_failed)
    if PRESETS[preset]["model"]["name"] == "r3gan":
        assert any(getattr(module, "groups", 1) > 1 for module in engine.networks.discriminator.modules())
    return {name: value.cpu() for name, value in engine.tensors().items()}


@pytest.mark.parametrize("preset", KINDS.values())
def test_the_graph_does_what_its_eager_twin_does(preset, hardware):
    eager = play(preset, Hardware(hardware.device, hardware.precision, allows_graph=False))
    for name, value in play(preset, hardware).items():
        torch.testing.assert_close(value, eager[name], rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")
