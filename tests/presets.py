"""The project's presets, which of them differ in kind, and how small each model may be made."""

import copy
import json
from typing import Any

import torch
import yaml
from import_closure import ROOT
from torch import Tensor

from facegan.common.config import read_values
from facegan.parameters import Parameters
from facegan.training.augmentation import Augmentation
from facegan.training.batches import Batches
from facegan.training.distributed import World
from facegan.training.engine import Engine, Hardware, Settings
from facegan.training.game import Game
from facegan.training.losses import OBJECTIVES
from facegan.training.networks import Networks

PRESETS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "presets").glob("*.yaml"))}
LENGTHS = {"batch", "images", "schedule_images", "progress_images", "ema_halflife_images"}
# of presets that differ only in photos, width and lengths, one stands for all
KINDS = {
    json.dumps([preset["model"] | {"width": 0}, {key: value for key, value in preset["train"].items() if key not in LENGTHS}]): name
    for name, preset in PRESETS.items()
}
# small, yet with more than one group in R3GAN's grouped convolutions
SIZES = {
    "dcgan": (8, 32),
    "tutorial28": (32, 28),
    "keras128": (8, 48),
    "r3gan": (16, 32),
    "stylegan2": (8, 32),
    "resnet": (16, 32),
}  # width, resolution


def change(preset: str, **sections: dict[str, Any]) -> dict[str, Any]:
    """Returns a preset's values with some of them changed, as in ``change("demo", train={"lr": 1e-4})``."""
    values = copy.deepcopy(PRESETS[preset])
    for section, changes in sections.items():
        values[section] |= changes
    return values


def read_preset(preset: str, **sections: dict[str, Any]) -> Parameters:
    """Returns a preset's parameters with some of them changed."""
    return read_values(Parameters, change(preset, **sections), preset)


def make_engine(
    preset: str,
    hardware: Hardware,
    images: Tensor,
    batch: int,
    capturable: bool,
    world: World = World(),  # noqa: B008 (frozen)
    microbatch: int | None = None,
    **sections: dict[str, Any],
) -> Engine:
    """Returns an engine for the preset's game, over images (N, 3, H, W) in uint8. ``sections``: what is changed of the preset."""
    parameters = read_preset(preset, **sections)
    model, parameters = parameters.model, parameters.train
    torch.manual_seed(0)
    networks = Networks(model, images.shape[3], parameters.optimizer, (0.5, 0.9), parameters.clip_value, hardware.device, capturable)
    augmentation = Augmentation(parameters.augment)
    game = Game(
        OBJECTIVES[parameters.objective],
        parameters.penalty,
        parameters.penalty_interval,
        parameters.penalty_stride,
        augmentation,
        parameters.fresh_batch,
    )
    batches = Batches([images], parameters.order, 0, hardware.device)
    return Engine(networks, game, batches, hardware, world, batch, parameters.flip, 0, microbatch)


def make_small_engine(
    preset: str, hardware: Hardware, batch: int, world: World = World(), microbatch: int | None = None, **train: Any
) -> Engine:
    """Returns an engine for the preset's game with small networks and random pictures."""
    width, resolution = SIZES[PRESETS[preset]["model"]["name"]]
    images = torch.randint(256, (5 * batch, 3, resolution, resolution), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return make_engine(preset, hardware, images, batch, hardware.is_capturable, world, microbatch, model={"width": width}, train=train)


def play_steps(engine: Engine, steps: int) -> dict[str, Tensor]:
    """Plays so many steps and returns copies of all that they change, and the sums of each step."""
    sums = []
    for step in range(steps):
        engine.step(step * engine.batch, 0, Settings(1e-4, 1e-4, (0.5, 0.9), gamma=1.0, strength=0.5, ema_decay=0.9))
        sums.append(engine.world.average(engine.step_sums.clone()))
    return {name: value.clone() for name, value in engine.tensors().items()} | {"sums": torch.stack(sums)}


def measure_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Returns how far two outcomes' gradients lie apart, as a share of their size: the larger one of both networks'.

    Their moving averages, which the optimisers keep, say it better than the weights: where a gradient is zero but for rounding, Adam
    makes a whole step of the rounding.
    """
    result = []
    for network in ("generator.optimizer.", "discriminator.optimizer."):
        names = [name for name in one if name.startswith(network) and name.endswith(("exp_avg", "square_avg"))]
        apart, size = (
            torch.stack([value.double().square().sum() for value in values]).sum().sqrt()
            for values in ([one[name] - other[name] for name in names], [one[name] for name in names])
        )
        result.append((apart / size).item())
    return max(result)
