"""Latents: the noise that a generator turns into faces, drawn from a seeded torch.Generator; and those faces."""

import torch
from torch import Tensor, nn

from facegan.common.devices import reproducible
from facegan.common.pictures import to_bytes


def draw_latents(generator: nn.Module, count: int, random: torch.Generator) -> Tensor:
    """Returns latents (count, latent_size) from the generator's own distribution, on the random generator's device."""
    shape, device = (count, generator.latent_size), random.device
    if generator.latent_distribution == "uniform":
        return torch.rand(shape, generator=random, device=device) * 2 - 1  # in [-1, 1]
    return torch.randn(shape, generator=random, device=device)


def seeded_latents(generator: nn.Module, count: int, seed: int) -> Tensor:
    """Returns the same latents (count, latent_size) for the same seed on every machine: drawn on the CPU."""
    return draw_latents(generator, count, torch.Generator().manual_seed(seed))


def truncate(generator: nn.Module, latents: Tensor, truncation: float) -> Tensor:
    """Returns latents that give more typical and less varied faces the further ``truncation`` is below 1.

    They are multiplied by it; but a generator with an attribute ``truncation`` does better by its own means, so there that is
    set, and the latents stay as they are.
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
