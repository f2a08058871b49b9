"""What a CUDA graph needs of a step, checked without CUDA: everything on the device, fixed shapes, no wait for a number from it.

The step runs on PyTorch's "meta" device, whose tensors have shapes but no values. Whatever reads a value on the host (``.item()``,
``if tensor:``, a mask's indices) fails there, as it would during capture; and no operation may use a tensor of the CPU. PyTorch's RMSprop
does not accept that device; Adam replaces it. A replayed step costs what its kernels cost, so they are counted too
(``benchmarks/step_counts.py``).
"""

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.step_counts import Counter
from facegan.training import trainer as trainer_module
from facegan.training.hardware import Hardware, choose_hardware
from facegan.training.trainer import ADAPT_STEPS
from presets import KINDS, PRESETS, Constant, make_trainer

# the most convolutions, forward and backward, and the most kernels that a step with a penalty may take
MOST = {
    "celeba64_dcgan": (40, 384),
    "anime64_dcgan_taught": (40, 213),
    "celeba128_keras": (66, 305),
    "celeba128_keras_taught": (51, 263),
    "celeba28_tutorial": (36, 434),
    "celeba64_stylegan2": (168, 2047),
    "celebahq256_stylegan2": (240, 3652),
    "demo": (209, 1055),
    "my_faces_laptop": (209, 2311),
} | dict.fromkeys(("celeba64_r3gan_labels", "ffhq64_r3gan", "my_faces"), (525, 2744))
META = torch.device("meta")
choose_hardware("cpu", "fp32")  # sets deterministic algorithms, which take more kernels here and there
BATCH = 8


class NothingFromTheHost(TorchDispatchMode):
    """Fails at an operation that reads or makes a tensor elsewhere than on the device."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        strangers = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor) and leaf.device != META]
        assert not strangers, f"{operation} touches {strangers}"
        return result


class Capturable(Hardware):
    """A device whose steps could be captured, but are not."""

    is_capturable, uses_graph = True, False


class MetaGenerator(torch.Generator):
    """A random generator of the meta device, which PyTorch has not."""

    device = META

    def __new__(cls, device="cpu"):
        return super().__new__(cls)


@pytest.mark.parametrize("preset", KINDS.values())
def test_a_step_stays_on_the_device_and_waits_for_nothing(preset, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: contextlib.nullcontext())  # there is none for this device
    monkeypatch.setattr(torch, "Generator", MetaGenerator)
    resolution = PRESETS[preset]["preprocess"]["resolution"]
    images = torch.empty(20 * BATCH, 3, resolution, resolution, dtype=torch.uint8, device=META)  # more than the steps below take
    monkeypatch.setattr(trainer_module, "read_default_generator", lambda device: b"")
    train = {"optimizer": "adam", "batch": BATCH, "augment_strength": "adaptive"}
    trainer = make_trainer(preset, Capturable(META, torch.float32), images, train=train)
    trainer.schedule = Constant(strength=None)
    inputs = trainer.fetch()  # chosen on the CPU, before the graph
    monkeypatch.setattr(trainer, "fetch", lambda: inputs)
    with NothingFromTheHost():
        for step in (1, ADAPT_STEPS - 1, trainer.game.penalty_interval):  # plain, adapting, with the penalty
            trainer.images_seen = step * BATCH
            trainer.train_step()
    with Counter([]) as counter:
        trainer.run_updates(inputs, trainer.game.penalty != "none")
    convolutions, kernels = MOST[preset]
    assert counter.large == 0 and counter.convolutions <= convolutions and counter.kernels <= kernels
    assert all(value.device == META for value in trainer.tensors().values())
