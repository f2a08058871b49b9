"""What must be computed in float32 is, whatever autocast and cuDNN choose; on a GPU as on a CPU."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from facegan.common.devices import find_device
from facegan.common.errors import FaceganError
from facegan.common.labels import NO_LABELS
from facegan.models.latents import generate_images
from facegan.models.layers import full_precision
from facegan.models.registry import build_discriminator
from facegan.training.hardware import choose_hardware
from presets import KINDS, SIZES, make_small_trainer, read_preset

PRODUCTS = ("mv", "mm", "addmm", "bmm", "convolution", "convolution_backward")


class Products(TorchDispatchMode):
    """Notes each matrix product and convolution: its name, the first tensor's shape and type."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name in PRODUCTS:
            self.seen.append((name, tuple(args[0].shape), args[0].dtype))
        return operation(*args, **(kwargs or {}))


def move_to_fake_cuda(network):
    """Puts a network's parameters and buffers on a CUDA device that is not there; ``nn.Module.to`` cannot with fake tensors."""
    for module in network.modules():
        module._parameters |= {name: nn.Parameter(value.detach().to("cuda")) for name, value in module.named_parameters(recurse=False)}
        module._buffers |= {name: value.to("cuda") for name, value in module.named_buffers(recurse=False)}


@pytest.mark.parametrize("preset", ["celeba64_dcgan", "celeba28_tutorial", "celeba64_r3gan", "celeba64_stylegan2", "celeba128_keras"])
def test_cuda_autocast_rounds_convolutions_and_leaves_spectral_norm_and_the_smallest_maps_alone(preset, monkeypatch):
    """CUDA's autocast turns a vector's product with a matrix, of which a spectral norm is made, into bfloat16; the CPU's does not."""
    width, resolution = SIZES[read_preset(preset).model.name]
    monkeypatch.setattr(torch.amp.autocast_mode.torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    with FakeTensorMode(allow_non_fake_inputs=True):
        discriminator = build_discriminator(read_preset(preset, model={"width": width}).model, resolution)
        move_to_fake_cuda(discriminator)
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        try:
            with Products() as products:
                discriminator.eval()(torch.zeros(4, 3, resolution, resolution, device="cuda"))
        finally:
            torch.set_autocast_enabled("cuda", False)
    convolutions = {shape[2]: dtype for name, shape, dtype in products.seen if name == "convolution"}
    assert convolutions[resolution] == torch.bfloat16
    assert {dtype for name, _, dtype in products.seen if name == "mv"} <= {torch.float32}
    assert ("spectral" in str(read_preset(preset).model)) == any(name == "mv" for name, *_ in products.seen)
    if preset in ("celeba64_r3gan", "celeba64_stylegan2"):
        assert convolutions[4] == torch.float32


def test_a_penalty_keeps_float32_what_the_network_computed_in_it():
    """Its first derivative is taken while autocast is on, which would cast the products in it; the smallest maps are to stay."""
    trainer = make_small_trainer("celeba64_r3gan", choose_hardware("cpu", "bf16"), 4)
    with Products() as products:
        trainer.train_step()
    assert {dtype for name, _, dtype in products.seen if name in ("mm", "addmm")} == {torch.float32}  # the first and the last layer
    for size, expected in ((4, torch.float32), (32, torch.bfloat16)):
        assert {dtype for name, shape, dtype in products.seen if "convolution" in name and shape[2:] == (size, size)} == {expected}


class Probe(nn.Module):
    """A generator that notes how cuDNN would compute its convolutions."""

    latent_size, latent_distribution, labels = 4, "normal", NO_LABELS

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.flags = []

    def forward(self, latents):
        self.flags.append(read_flags())
        return self.weight.expand(len(latents), 3, 8, 8)


def read_flags():
    return {name: getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")}


def test_pictures_are_made_reproducibly_and_their_taker_keeps_his_settings(monkeypatch):
    """Sampling and scoring alike: cuDNN on, without TF32 and without a choice by speed; and only while an image is made."""
    from facegan.sampling.faces import generate
    from facegan.scoring.evaluate import generate as generate_scored
    from facegan.scoring.parameters import EvaluateParameters

    for name, value in {"allow_tf32": True, "benchmark": True, "deterministic": False}.items():
        monkeypatch.setattr(torch.backends.cudnn, name, value)
    theirs, probe = read_flags(), Probe()
    scored = EvaluateParameters(extractor="efficientnet_lite0", weights=None, images=20, memorisation_images=20, seed=0)
    for images in (generate(probe, torch.zeros(40, 4), "faces"), generate_scored(probe, scored, torch.device("cpu"))):
        for _ in images:
            assert read_flags() == theirs
    assert generate_images(probe, torch.zeros(2, 4)).dtype == torch.uint8
    assert len(probe.flags) > 4
    assert all(flags == {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False} for flags in probe.flags)


class NoDouble(TorchDispatchMode):
    """Fails at an operation that makes a tensor in float64."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        doubles = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64]
        assert not doubles, operation
        return result


@pytest.mark.parametrize("preset", KINDS.values())
def test_nothing_in_a_step_or_a_picture_needs_float64(preset):
    """Apple's GPUs have none."""
    trainer = make_small_trainer(preset, choose_hardware("cpu", "fp32"), 4)
    with NoDouble():
        trainer.train_step()
        generate_images(trainer.ema.eval(), torch.zeros(2, trainer.ema.latent_size))


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="an Apple GPU is here")
def test_an_apple_gpu_is_taken_where_there_is_one(monkeypatch):
    with pytest.raises(FaceganError, match=r"train\.device: expected an Apple GPU"):
        choose_hardware("mps", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device() == torch.device("mps")
    for device in ("auto", "mps"):
        hardware = choose_hardware(device, "auto")
        assert (hardware.device.type, hardware.precision, hardware.is_capturable) == ("mps", torch.float32, False)
    with full_precision(torch.device("mps")):
        pass


def test_float32_is_float32_in_training():
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    choose_hardware("cpu", "fp32")
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic and torch.are_deterministic_algorithms_enabled()
