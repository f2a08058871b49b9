"""Latents, drawn from a seeded torch.Generator, and the images that a generator makes from them.

A labelled generator's latents end with the label, as one-hot numbers; see ``facegan.common.labels``.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from facegan.common import labels
from facegan.common.devices import reproducible
from facegan.common.pictures import to_bytes
from facegan.models.network import GeneratorNetwork

Given = Mapping[str, int]  # positions of label values by column
ANY_LABEL: Given = MappingProxyType({})
LABEL_SEEDS = 2**32  # added to a seed for labels, so that latents are those of an unlabelled generator


def draw_latents(generator: GeneratorNetwork, count: int, random: torch.Generator) -> Tensor:
    """Returns latents (count, latent_size), without labels, from the generator's own distribution, on the random generator's device."""
    shape, device = (count, generator.latent_size), random.device
    if generator.latent_distribution == "uniform":
        return torch.rand(shape, generator=random, device=device) * 2 - 1  # in [-1, 1]
    return torch.randn(shape, generator=random, device=device)


def seeded_latents(generator: GeneratorNetwork, count: int, seed: int, given: Given = ANY_LABEL) -> Tensor:
    """Returns the same latents (count, input_size) for the same seed on every machine: drawn on the CPU.

    Args:
        given: positions of label values by column; other labels are drawn with their frequency in the training data.
    """
    return next(draw_batches(generator, count, seed, given))


def draw_batches(generator: GeneratorNetwork, size: int, seed: int, given: Given = ANY_LABEL) -> Iterator[Tensor]:
    """Yields a seed's latents, ``size`` (a multiple of 16) at a time, without end; see ``seeded_latents``."""
    random, label_random = (torch.Generator().manual_seed(number) for number in (seed, seed + LABEL_SEEDS))
    while True:
        latents = draw_latents(generator, size, random)
        if generator.labels.columns:
            positions = labels.draw(generator.labels, given, size, label_random)
            latents = torch.cat([latents, labels.encode(positions, generator.labels.columns)], 1)
        yield latents


def truncate(generator: GeneratorNetwork, latents: Tensor, truncation: float) -> Tensor:
    """Returns latents that give more typical and less varied faces, the smaller ``truncation`` is.

    Latents are multiplied by it. A generator with an attribute ``truncation`` truncates styles instead: the attribute is set, and the
    latents do not change.
    """
    if hasattr(generator, "truncation"):
        generator.truncation = truncation
        return latents
    return torch.cat([latents[:, : generator.latent_size] * truncation, latents[:, generator.latent_size :]], 1)


@torch.inference_mode()
def generate_images(generator: nn.Module, latents: Tensor) -> Tensor:
    """Returns the uint8 images (B, 3, H, W) of latents (B, input_size), on the generator's device: the same every time there."""
    device = next(generator.parameters()).device
    with reproducible():
        return to_bytes(generator(latents.to(device)))
