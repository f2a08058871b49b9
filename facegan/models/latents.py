"""Latents, drawn from a seeded torch.Generator, and the images that a generator makes from them."""

import torch
from torch import Tensor, nn

from facegan.common.devices import reproducible
from facegan.common.pictures import to_bytes
from facegan.models.network import GeneratorNetwork


def draw_latents(generator: GeneratorNetwork, count: int, random: torch.Generator) -> Tensor:
    """Returns latents (count, latent_size) from the generator's own distribution, on the random generator's device."""
    shape, device = (count, generator.latent_size), random.device
    if generator.latent_distribution == "uniform":
        return torch.rand(shape, generator=random, device=device) * 2 - 1  # in [-1, 1]
    return torch.randn(shape, generator=random, device=device)


def seeded_latents(generator: GeneratorNetwork, count: int, seed: int) -> Tensor:
    """Returns the same latents (count, latent_size) for the same seed on every machine: drawn on the CPU."""
    return draw_latents(generator, count, torch.Generator().manual_seed(seed))


def truncate(generator: GeneratorNetwork, latents: Tensor, truncation: float) -> Tensor:
    """Returns latents that give more typical and less varied faces, the smaller ``truncation`` is.

    Latents are multiplied by it. A generator with an attribute ``truncation`` truncates styles instead: the attribute is set, and the
    latents do not change.
    """
    if hasattr(generator, "truncation"):
        generator.truncation = truncation
        return latents
    return latents * truncation


@torch.inference_mode()
def generate_images(generator: nn.Module, latents: Tensor) -> Tensor:
    """Returns the uint8 images (B, 3, H, W) of latents (B, latent_size), on the generator's device: the same every time there."""
    device = next(generator.parameters()).device
    with reproducible():
        return to_bytes(generator(latents.to(device)))
