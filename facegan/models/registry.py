"""The networks, by name. Both are built from the section ``model`` of the parameters and a resolution.

To add an architecture:

- a module with a ``Generator`` and a ``Discriminator``, subclasses of those in ``facegan.models.network``, called with (parameters,
  resolution); they raise FaceganError for a resolution that they do not support. In training every parameter gets a gradient in every
  step, unless it belongs to a size that comes later; buffers are float32 or int64 and changed in place, and nothing waits for the device,
  so that a CUDA graph can hold a step;
- random numbers in ``draw_noise``, ``facegan.models.layers.BatchNorm2d`` instead of PyTorch's, ``group_images`` if images are compared;
- its parameters, a ``Section`` with a ``name``, in ``facegan.models.parameters.ModelParameters``, and an entry in ``MODELS``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from torch import nn

from facegan.common.labels import NO_LABELS, Labels
from facegan.models import dcgan, keras128, r3gan, resnet, stylegan2, tutorial28
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Network
from facegan.models.parameters import ModelParameters

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


class Architecture(NamedTuple):
    """The two networks of one name; each is called with its parameters and the resolution."""

    generator: Callable[[Any, int], GeneratorNetwork]
    discriminator: Callable[[Any, int], DiscriminatorNetwork]


MODELS = {
    "dcgan": Architecture(dcgan.Generator, dcgan.Discriminator),
    "tutorial28": Architecture(tutorial28.Generator, tutorial28.Discriminator),
    "keras128": Architecture(keras128.Generator, keras128.Discriminator),
    "r3gan": Architecture(r3gan.Generator, r3gan.Discriminator),
    "resnet": Architecture(resnet.Generator, resnet.Discriminator),
    "stylegan2": Architecture(stylegan2.Generator, stylegan2.Discriminator),
}


def build_generator(parameters: ModelParameters, resolution: int, labels: Labels = NO_LABELS) -> GeneratorNetwork:
    """Returns a freshly initialised generator. Raises FaceganError when the model does not support the resolution or labels."""
    return with_labels(MODELS[parameters.name].generator(parameters, resolution), labels)


def build_discriminator(parameters: ModelParameters, resolution: int, labels: Labels = NO_LABELS) -> DiscriminatorNetwork:
    """Returns a freshly initialised discriminator. Raises FaceganError when the model does not support the resolution or labels."""
    return with_labels(MODELS[parameters.name].discriminator(parameters, resolution), labels)


def with_labels(network: AnyNetwork, labels: Labels) -> AnyNetwork:
    """Returns the network, conditional if there are labels."""
    if labels.columns:
        network.add_labels(labels)
    return network


def describe_model(parameters: ModelParameters) -> str:
    """Returns the model in one line, such as ``dcgan(width=48, latent_size=100)``."""
    return f"{parameters.name}({', '.join(f'{key}={value}' for key, value in parameters if key != 'name')})"


def count_parameters(network: nn.Module) -> int:
    """Returns the number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters())
