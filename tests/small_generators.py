"""Small generators of every model, untrained, whose faces all differ."""

from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import nn

from facegan.models.generator_file import Card, save_generator
from facegan.models.latents import draw_latents
from facegan.models.parameters import ModelParameters
from facegan.models.registry import build_generator

SMALL = {
    "dcgan": (32, {"width": 8, "latent_size": 16, "discriminator_norm": "batch"}),
    "tutorial28": (28, {"width": 32, "latent_size": 16, "dropout": 0.2, "discriminator_norm": "batch"}),
    "keras128": (48, {"width": 8, "latent_size": 16, "dropout": 0.2}),
    "r3gan": (32, {"width": 16, "latent_size": 16}),
    "stylegan2": (32, {"width": 16, "latent_size": 16}),
}


def build_small(name: str = "dcgan", seed: int = 0) -> tuple[nn.Module, Card]:
    """Returns a generator in evaluation mode and its card. No weight is zero, and batch norms know what they see."""
    resolution, arguments = SMALL[name]
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_generator(TypeAdapter(ModelParameters).validate_python({"name": name, **arguments}), resolution)
        with torch.no_grad():
            for parameter in network.parameters():
                if not parameter.any() and parameter.dim() != 1:  # a weight that begins at zero; biases may stay there
                    parameter.normal_(0, 0.3, generator=random)
            for _ in range(50):
                network.train()(draw_latents(network, 16, random))
            scale = network.eval()(draw_latents(network, 64, random)).std()
            ends = [layer.convolution for layer in network.to_rgb] if hasattr(network, "to_rgb") and isinstance(network.to_rgb, nn.ModuleList) else None
            for layer in ends or [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)][-1:]:
                layer.weight.mul_(0.5 / scale)  # faces that are neither grey nor clipped
    card = Card(
        model=name, arguments=arguments, resolution=resolution, latent_size=network.latent_size, images_seen=1000,
        data_fingerprint="data", parameters_fingerprint="parameters",
    )
    return network.eval(), card


def write_small(path: Path, name: str = "dcgan", seed: int = 0) -> Path:
    """Writes a small generator's file and returns its path."""
    save_generator(path, *build_small(name, seed))
    return path
