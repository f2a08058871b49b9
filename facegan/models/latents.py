"""Latents: the noise that a generator turns into faces, drawn from a seeded torch.Generator."""

import torch
from torch import Tensor, nn


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
