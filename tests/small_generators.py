"""Small untrained generators of every model, with visibly different faces, their files, and readers for pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import nn

from facegan.common.labels import NO_LABELS, encode, summarize
from facegan.models.generator_file import Card, save_generator
from facegan.models.latents import draw_latents
from facegan.models.network import GeneratorNetwork
from facegan.models.parameters import DCGANParameters, ModelParameters
from facegan.models.registry import MODELS, build_generator
from facegan.sampling.parameters import SampleParameters
from presets import COLUMNS

# 20, not 16: torch draws normal numbers in blocks of 16, and an incomplete block depends on the total number.
PARAMETERS = DCGANParameters(name="dcgan", width=4, latent_size=20, discriminator_norm="batch")


def make_generator(seed: int = 0, gain: float = 20.0) -> nn.Module:
    """Returns a small generator with large weights, so that its faces differ visibly."""
    torch.manual_seed(seed)
    generator = build_generator(PARAMETERS, 32).eval()
    with torch.no_grad():
        for layer in generator.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.mul_(gain)
    return generator


def make_card(images_seen: int = 1000, model: ModelParameters = PARAMETERS, resolution: int = 32) -> Card:
    """Returns the card of a small generator; by default of ``make_generator``'s."""
    return Card(
        model=model.name,
        arguments=model.model_dump(exclude={"name"}),
        resolution=resolution,
        latent_size=model.latent_size,
        images_seen=images_seen,
        data_fingerprint="data",
        parameters_fingerprint="parameters",
    )


def save_small_generator(path: Path, gain: float = 20.0) -> None:
    """Writes ``make_generator``'s generator."""
    save_generator(path, make_generator(gain=gain), make_card())


def choose(seed: int = 0, count: int = 1, truncation: float = 1.0) -> SampleParameters:
    """Returns the section ``sample`` of the parameters."""
    return SampleParameters(seed=seed, count=count, truncation=truncation)


def read_all(folder: Path) -> dict[str, bytes]:
    """Returns the contents of all files below a folder, by their relative paths."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_frames(path: Path) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Returns an animation's frames (H, W, 3) as floats, and its file's metadata."""
    frames = []
    with Image.open(path) as animation:
        for number in range(animation.n_frames):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB"), dtype=float))
        return frames, animation.info


SMALL = {
    "dcgan": (32, {"width": 8, "latent_size": 16, "discriminator_norm": "batch"}),
    "tutorial28": (28, {"width": 32, "latent_size": 16, "dropout": 0.2, "discriminator_norm": "batch"}),
    "keras128": (48, {"width": 8, "latent_size": 16, "dropout": 0.2}),
    "r3gan": (32, {"width": 16, "latent_size": 16}),
    "resnet": (32, {"width": 16, "latent_size": 16}),
    "stylegan2": (32, {"width": 16, "latent_size": 16}),
}
assert SMALL.keys() == MODELS.keys(), "a new model needs a small generator here"


def build_small(name: str = "dcgan", seed: int = 0) -> tuple[nn.Module, Card]:
    """Returns a generator in evaluation mode, without zero weights and with calibrated batch norms, and its card.

    Args:
        name: of the model; followed by "+labels", a labelled one.
    """
    name, _, labelled = name.partition("+")
    labels = summarize(COLUMNS, torch.tensor([[0, 0], [0, 0], [1, 2], [0, 1]])) if labelled else NO_LABELS
    resolution, arguments = SMALL[name]
    model = TypeAdapter(ModelParameters).validate_python({"name": name, **arguments})
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        network = build_generator(model, resolution, labels)
        for parameter in network.parameters():
            if not parameter.any() and parameter.dim() != 1:  # weights initialised to zero; biases may stay zero
                parameter.normal_(0, 0.3, generator=random)
        for _ in range(50):
            network.train()(draw_inputs(network, 16, random), network.draw_noise(16, random, torch.float32))
        scale = network.eval()(draw_inputs(network, 64, random)).std()
        if name == "stylegan2":
            last = [layer.convolution for layer in network.to_rgb]
        else:
            last = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1:]
        for layer in last:
            layer.weight.mul_(0.5 / scale)  # so that the faces are neither grey nor clipped
    return network.eval(), make_card(1000, model, resolution).model_copy(update={"labels": labels if labelled else None})


def draw_inputs(network: GeneratorNetwork, count: int, random: torch.Generator) -> torch.Tensor:
    """Returns latents (count, input_size), with labels of equal frequency."""
    positions = (
        torch.stack([torch.arange(count) % len(column.values) for column in network.labels.columns], 1) if network.labels.size else None
    )
    latents = draw_latents(network, count, random)
    return latents if positions is None else torch.cat([latents, encode(positions, network.labels.columns)], 1)


def write_small(path: Path, name: str = "dcgan", seed: int = 0) -> Path:
    """Writes the file of a small generator and returns its path."""
    save_generator(path, *build_small(name, seed))
    return path
