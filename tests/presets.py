"""The project's presets, which of them differ in kind, and small trainers for them."""

import copy
import json
from typing import Any

import torch
from import_closure import ROOT
from torch import Tensor

from facegan.common.config import read_values, read_yaml
from facegan.common.labels import Column
from facegan.common.shards import Index
from facegan.models.network import Network
from facegan.parameters import Parameters
from facegan.training.hardware import Hardware
from facegan.training.processes import World
from facegan.training.schedules import StepValues
from facegan.training.trainer import Trainer

PRESETS = {path.stem: read_yaml(path) for path in sorted((ROOT / "presets").glob("*.yaml"))}
LENGTHS = {"batch", "images", "schedule_images", "progress_images", "ema_halflife_images"}
# of presets that differ only in photos, width and lengths, one stands for all
KINDS = {
    json.dumps([preset["model"] | {"width": 0}, {key: value for key, value in preset["train"].items() if key not in LENGTHS}]): name
    for name, preset in PRESETS.items()
}
# each of them, and some with labels
VARIANTS = [(name, False) for name in KINDS.values()] + [("demo", True), ("celeba64_stylegan2", True)]
# small, yet with more than one group in R3GAN's grouped convolutions
SIZES = {
    "dcgan": (8, 32),
    "tutorial28": (32, 28),
    "keras128": (8, 48),
    "r3gan": (16, 32),
    "stylegan2": (8, 32),
    "resnet": (16, 32),
}  # width, resolution


COLUMNS = (
    Column(name="glasses", values=("no", "yes"), counts=(1, 1)),
    Column(name="hair", values=("black", "brown", "grey"), counts=(1, 1, 1)),
)


def make_small_model(preset: str, grow_images: int) -> dict[str, Any]:
    """Returns a preset's section ``model`` at a small width; the demo's networks grow after ``grow_images`` images."""
    model = PRESETS[preset]["model"] | {"width": SIZES[PRESETS[preset]["model"]["name"]][0]}
    return model | ({"grow_images": [grow_images]} if preset == "demo" else {})


def change(preset: str, **sections: dict[str, Any]) -> dict[str, Any]:
    """Returns a preset's values with some of them changed, as in ``change("demo", train={"lr": 1e-4})``."""
    values = copy.deepcopy(PRESETS[preset])
    for section, changes in sections.items():
        values[section] |= changes
    return values


def read_preset(preset: str, **sections: dict[str, Any]) -> Parameters:
    """Returns a preset's parameters with some of them changed."""
    return read_values(Parameters, change(preset, **sections), preset)


class Constant:
    """A schedule whose values stay the same."""

    def __init__(self, **values: Any):
        defaults = {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "betas": (0.5, 0.9), "gamma": 1.0, "strength": 0.5, "ema_decay": 0.9}
        self.values = StepValues(**defaults | values)

    def at(self, images_seen: int) -> StepValues:
        return self.values


def make_trainer(
    preset: str, hardware: Hardware, images: Tensor, world: World | None = None, labelled: bool = False, **sections: dict[str, Any]
) -> Trainer:
    """Returns a trainer for the preset over images (N, 3, H, W) in uint8. ``sections``: changes of the preset."""
    parameters = read_preset(preset, **sections)
    facts = {"holdout": 0, "crop": "none", "filter": "lanczos", "source_fingerprint": "", "fingerprint": ""}
    shard = {"file": "train-00000.safetensors", "split": "train", "images": len(images), "bytes": images.nbytes, "sha256": ""}
    index = Index.model_validate({"resolution": images.shape[3], "train": len(images), "shards": [shard], **facts})
    labels = torch.stack([torch.arange(len(images)) % 2, torch.arange(len(images)) // 2 % 3], 1).byte()
    if labelled:
        index = index.model_copy(update={"labels": COLUMNS})
    arguments = parameters.model, parameters.train, hardware, world or World(), [labels] if labelled else []
    return Trainer(index, [images], *arguments)


def make_small_trainer(
    preset: str, hardware: Hardware, batch: int, world: World | None = None, labelled: bool = False, **train: Any
) -> Trainer:
    """Returns a trainer for the preset with small networks, random images and a constant schedule."""
    resolution = SIZES[PRESETS[preset]["model"]["name"]][1]
    images = torch.randint(256, (5 * batch, 3, resolution, resolution), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = make_small_model(preset, batch)  # grows after the first step
    trainer = make_trainer(preset, hardware, images, world, labelled, model=model, train={"batch": batch, **train})
    trainer.schedule = Constant()
    return trainer


def run_steps(trainer: Trainer, steps: int) -> dict[str, Tensor]:
    """Runs training steps and returns copies of everything that they change, and the sums of each step."""
    sums = []
    for _ in range(steps):
        trainer.train_step()
        sums.append(trainer.world.average(trainer.step_sums.clone()))
    return {name: value.clone() for name, value in trainer.tensors().items()} | {"sums": torch.stack(sums)}


def apply(network: Network, inputs: Tensor, seed: int = 0) -> Tensor:
    """Returns the network's output in training, with random numbers from a seed."""
    return network(inputs, network.draw_noise(len(inputs), torch.Generator().manual_seed(seed), torch.float32))


def measure_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Returns the relative difference of two results' gradients: the larger one of both networks'.

    The optimizers' moving averages are compared instead of the weights: where a gradient is zero except for rounding, Adam turns the
    rounding into a full step.
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
