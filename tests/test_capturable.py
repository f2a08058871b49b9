"""What a CUDA graph asks of a step, checked without CUDA: fixed shapes, and no wait for a number from the device.

Tensors here have shapes but no values, so whatever reads a value on the host (``.item()``, ``if tensor:``, a mask's indices)
fails, as it would during capture.
"""

import dataclasses

import pytest
import torch
import yaml
from import_closure import ROOT
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from facegan import config
from facegan.augment import TRANSFORMATIONS, Augmentation, adapt
from facegan.average import update_average
from facegan.game import Dials, Rules, discriminator_move, generator_move
from facegan.losses import OBJECTIVES
from facegan.models import build_discriminator, build_generator, read_model
from facegan.train import TrainParameters

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
MODERN = [name for name, preset in PARAMS["presets"].items() if preset["model"]["name"] in ("r3gan", "stylegan2")]


def play_step(model, resolution, parameters, images):
    """Plays what the engine captures: both moves and the average, on whatever kind of tensors."""
    name, arguments = model
    generator, average = (build_generator(name, resolution, arguments) for _ in range(2))
    discriminator = build_discriminator(name, resolution, arguments)
    rules = Rules(OBJECTIVES[parameters.objective], parameters.penalty, parameters.penalty_interval, Augmentation("full"), True)
    dials = Dials(torch.ones(()), torch.full((), 0.5))
    with torch.autocast("cpu", torch.bfloat16):
        fake = generator(torch.randn(len(images), generator.latent_size)).float()
        first = discriminator_move(discriminator, rules, dials, images, fake, penalize=True)
    first.loss.backward()
    with torch.autocast("cpu", torch.bfloat16):
        fake = generator(torch.randn(len(images), generator.latent_size)).float()
        second = generator_move(discriminator, rules, dials, images, fake)
    second.loss.backward()
    update_average(average, generator, torch.full((), 0.9))
    return first, second, adapt(dials.strength, first.real_logits.sign().mean(), 4 * len(images))


@pytest.mark.parametrize("preset", MODERN)
def test_a_step_waits_for_nothing_and_has_fixed_shapes(preset):
    params = {**PARAMS, "preset": preset}
    (name, arguments), parameters = config.read_sections(params, model=read_model, train=TrainParameters)
    resolution = PARAMS["presets"][preset]["preprocess"]["resolution"]
    with FakeTensorMode():
        first, second, strength = play_step((name, dataclasses.replace(arguments, width=32)), resolution, parameters, torch.zeros(8, 3, resolution, resolution))
    assert first.real_logits.shape == second.fake_logits.shape == (8,)
    assert strength.shape == ()


def test_such_a_check_notices_a_wait():
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.ones(()).item()


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_each_transformation_waits_for_nothing(name):
    with FakeTensorMode():
        assert Augmentation(name)(torch.zeros(8, 3, 32, 32), torch.ones(())).shape == (8, 3, 32, 32)
