"""A small generator whose faces differ visibly, its file, and the pictures drawn from it."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from facegan.models.generator_file import Card, save_generator
from facegan.models.parameters import DCGANParameters
from facegan.models.registry import build_generator
from facegan.sampling.parameters import SampleParameters

PARAMETERS = DCGANParameters(name="dcgan", width=4, latent_size=16, discriminator_norm="batch")


def make_generator(seed: int = 0, gain: float = 20.0) -> nn.Module:
    """Returns a small generator with weights so large that its faces differ visibly."""
    torch.manual_seed(seed)
    generator = build_generator(PARAMETERS, 32).eval()
    with torch.no_grad():
        for layer in generator.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.mul_(gain)
    return generator


def make_card(images_seen: int = 1000) -> Card:
    """Returns the card of ``make_generator``'s generator."""
    arguments = PARAMETERS.model_dump(exclude={"name"})
    return Card(
        model="dcgan", arguments=arguments, resolution=32, latent_size=16, images_seen=images_seen, data_fingerprint="data", parameters_fingerprint="parameters"
    )


def save_small_generator(path: Path, gain: float = 20.0) -> None:
    """Writes ``make_generator``'s generator."""
    save_generator(path, make_generator(gain=gain), make_card())


def choose(seed: int = 0, count: int = 1, truncation: float = 1.0) -> SampleParameters:
    """Returns the section ``sample`` of the parameters."""
    return SampleParameters(seed=seed, count=count, truncation=truncation)


def read_all(folder: Path) -> dict[str, bytes]:
    """Returns every file below the folder, by its path within."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_frames(path: Path) -> tuple[list[np.ndarray], dict]:
    """Returns an animation's frames (H, W, 3) as floats, and what its file says about itself."""
    frames = []
    with Image.open(path) as animation:
        for number in range(animation.n_frames):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB"), dtype=float))
        return frames, animation.info
