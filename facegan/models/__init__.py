"""The networks, by name.

A generator takes latents (B, latent_size) to images (B, 3, H, W), nominally in [-1, 1]; a discriminator takes images to
logits (B,). Both are built from ``(resolution, arguments)``, where ``arguments`` is the model's own frozen dataclass: the
section ``model`` of params.yaml without the name. A generator tells how its latents are drawn in two attributes,
``latent_size`` and ``latent_distribution`` ("normal", or "uniform" in [-1, 1]).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from facegan.common import config
from facegan.models import dcgan, keras128, r3gan, stylegan2, tutorial28


@dataclasses.dataclass(frozen=True)
class Model:
    """One architecture: its arguments' dataclass and its two networks."""

    arguments: type
    generator: type[nn.Module]
    discriminator: type[nn.Module]


MODELS = {
    "dcgan": Model(dcgan.DCGANArguments, dcgan.Generator, dcgan.Discriminator),
    "tutorial28": Model(tutorial28.Tutorial28Arguments, tutorial28.Generator, tutorial28.Discriminator),
    "keras128": Model(keras128.Keras128Arguments, keras128.Generator, keras128.Discriminator),
    "r3gan": Model(r3gan.R3GANArguments, r3gan.Generator, r3gan.Discriminator),
    "stylegan2": Model(stylegan2.StyleGAN2Arguments, stylegan2.Generator, stylegan2.Discriminator),
}


def read_model(values: dict[str, Any], problems: list[str]) -> tuple[str, Any] | None:
    """Returns the model's name and its arguments, for ``config.read_sections(params, model=read_model)``.

    Args:
        values: the section ``model`` of params.yaml.
        problems: gets an unknown model, or arguments that are not that model's.
    """
    name = values.pop("name", None)
    if name not in MODELS:
        problems.append(f"model.name: expected one of {', '.join(MODELS)}; found {name!r}{config.suggest(name, MODELS)}")
        return None
    return name, config.read_dataclass(MODELS[name].arguments, values, "model", problems)


def build_generator(name: str, resolution: int, arguments: Any) -> nn.Module:
    """Returns a freshly initialised generator. Raises FaceganError when the model cannot make that resolution."""
    return MODELS[name].generator(resolution, arguments)


def build_discriminator(name: str, resolution: int, arguments: Any) -> nn.Module:
    """Returns a freshly initialised discriminator. Raises FaceganError when the model cannot take that resolution."""
    return MODELS[name].discriminator(resolution, arguments)


def describe_model(name: str, arguments: Mapping[str, Any]) -> str:
    """Returns the model in one line, such as ``dcgan(width=48, latent_size=100)``."""
    return f"{name}({', '.join(f'{key}={value}' for key, value in arguments.items())})"


def count_parameters(network: nn.Module) -> int:
    """Returns how many trainable numbers the network holds."""
    return sum(parameter.numel() for parameter in network.parameters())
