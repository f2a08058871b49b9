"""The networks, by name.

A generator takes latents (B, latent_size) to images (B, 3, H, W), nominally in [-1, 1]; a discriminator takes images to
logits (B,). Both are built from the section ``model`` of the parameters and a resolution. A generator tells how its latents are
drawn in two attributes, ``latent_size`` and ``latent_distribution`` ("normal", or "uniform" in [-1, 1]).
"""

from typing import NamedTuple

from torch import nn

from facegan.models import dcgan, keras128, r3gan, resnet, stylegan2, tutorial28
from facegan.models.parameters import ModelParameters


class Architecture(NamedTuple):
    """The two networks of one name."""

    generator: type[nn.Module]
    discriminator: type[nn.Module]


MODELS = {
    "dcgan": Architecture(dcgan.Generator, dcgan.Discriminator),
    "tutorial28": Architecture(tutorial28.Generator, tutorial28.Discriminator),
    "keras128": Architecture(keras128.Generator, keras128.Discriminator),
    "r3gan": Architecture(r3gan.Generator, r3gan.Discriminator),
    "resnet": Architecture(resnet.Generator, resnet.Discriminator),
    "stylegan2": Architecture(stylegan2.Generator, stylegan2.Discriminator),
}


def build_generator(parameters: ModelParameters, resolution: int) -> nn.Module:
    """Returns a freshly initialised generator. Raises FaceganError when the model cannot make that resolution."""
    return MODELS[parameters.name].generator(parameters, resolution)


def build_discriminator(parameters: ModelParameters, resolution: int) -> nn.Module:
    """Returns a freshly initialised discriminator. Raises FaceganError when the model cannot take that resolution."""
    return MODELS[parameters.name].discriminator(parameters, resolution)


def describe_model(parameters: ModelParameters) -> str:
    """Returns the model in one line, such as ``dcgan(width=48, latent_size=100)``."""
    return f"{parameters.name}({', '.join(f'{key}={value}' for key, value in parameters if key != 'name')})"


def count_parameters(network: nn.Module) -> int:
    """Returns how many trainable numbers the network holds."""
    return sum(parameter.numel() for parameter in network.parameters())
