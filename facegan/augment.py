"""Differentiable augmentation: what the discriminator sees, so that it cannot learn a small data set by heart.

In: images (B, 3, H, W) in [-1, 1], real or generated, and a strength from 0 to 1. Out: images of the same shape. Each kind of
transformation befalls each image with a probability that is the strength, so below 1 the generator's own pictures stay
un-augmented (Karras et al. 2020, "Training generative adversarial networks with limited data"); at 1, with the policy
"color,translation,cutout", this is DiffAugment (Zhao et al. 2020).

Everything can be differentiated twice, because gradient penalties are taken through it. Shapes are fixed and nothing waits
for the host, so a CUDA graph can hold it. Random numbers come from the device's default generator.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from facegan.errors import FaceganError

ADA_TARGET = 0.6  # mean sign of the discriminator on real images: above it, it knows them too well
ADA_IMAGES = 500_000  # images in which the adaptive strength can go from 0 to 1
ADA_LIMIT = 0.8  # beyond it rotated and shifted pictures begin to leak into the generator


class Augmentation:
    """A policy: which transformations there are. ``augmentation(images, strength)`` applies them.

    Args:
        policy: "none", "full", or some of the names in ``TRANSFORMATIONS`` separated by commas, such as DiffAugment's
            "color,translation,cutout". The order of application is always that of ``TRANSFORMATIONS``.

    Raises:
        FaceganError: an unknown name.
    """

    def __init__(self, policy: str):
        names = {"none": [], "full": list(TRANSFORMATIONS)}.get(policy, policy.split(","))
        unknown = [name for name in names if name not in TRANSFORMATIONS]
        if unknown:
            choices = ", ".join(TRANSFORMATIONS)
            raise FaceganError(f"train.augment: expected none, full or some of {choices}, separated by commas; found {unknown[0]!r}; mend it")
        self.names = [name for name in TRANSFORMATIONS if name in names]

    def __call__(self, images: Tensor, strength: Tensor) -> Tensor:
        """Returns the images, some of them transformed. ``strength``: a 0-dim tensor on the images' device."""
        for name in self.names:
            chosen = torch.rand(len(images), device=images.device) < strength  # (B,); never at strength 0, always at 1
            images = torch.where(chosen[:, None, None, None], TRANSFORMATIONS[name](images), images)
        return images  # (B, 3, H, W)


def adapt(strength: Tensor, mean_sign: Tensor, images_since: int) -> Tensor:
    """Returns the adaptive strength's next value (ADA): up while the discriminator is too sure of real images, else down.

    Args:
        strength: the present one, a 0-dim tensor.
        mean_sign: mean of sign(real_logits) since the last call, a 0-dim tensor; of sign(real_logits - fake_logits) where an
            objective reads differences alone.
        images_since: real images shown since the last call; ADA asks every fourth step.
    """
    step = torch.sign(mean_sign - ADA_TARGET) * images_since / ADA_IMAGES
    return torch.clamp(strength + step, 0, ADA_LIMIT)


def flip(images: Tensor) -> Tensor:
    """Mirrors every other image, left for right."""
    chosen = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def jitter_color(images: Tensor) -> Tensor:
    """Changes brightness by ±0.5, saturation by ×[0, 2] and contrast by ×[0.5, 1.5], as DiffAugment does."""
    brightness, saturation, contrast = torch.rand(3, len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)  # (B, 1, H, W)
    images = (images - grey) * (2 * saturation) + grey
    level = images.mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return (images - level) * (contrast + 0.5) + level


def translate_by_pixels(images: Tensor) -> Tensor:
    """Moves images by whole pixels, up to an eighth of their size each way; grey comes in from outside."""
    reach = images.shape[3] // 8
    shift = torch.randint(-reach, reach + 1, (2, len(images)), device=images.device).float()
    return warp(images, identity_matrices(images), shift[0], shift[1])


def translate_by_fractions(images: Tensor) -> Tensor:
    """Moves images by any distance, normally distributed with an eighth of their size as deviation."""
    shift = torch.randn(2, len(images), device=images.device) * (images.shape[3] / 8)
    return warp(images, identity_matrices(images), shift[0], shift[1])


def rotate(images: Tensor) -> Tensor:
    """Turns images about their centre by any angle."""
    angle = torch.rand(len(images), device=images.device) * (2 * math.pi)
    cosine, sine, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
    matrices = torch.stack([cosine, -sine, sine, cosine], 1).unflatten(1, (2, 2))
    return warp(images, matrices, zero, zero)


def scale(images: Tensor) -> Tensor:
    """Zooms images about their centre by 2^(0.2 · normal)."""
    factor = torch.exp2(0.2 * torch.randn(len(images), device=images.device))
    zero = torch.zeros_like(factor)
    return warp(images, identity_matrices(images) * factor[:, None, None], zero, zero)


def cut_out(images: Tensor) -> Tensor:
    """Greys a square half as wide as the image, whose centre lies anywhere in it."""
    size = images.shape[3]
    centre = torch.rand(2, len(images), 1, device=images.device) * size
    position = torch.arange(size, device=images.device) + 0.5
    inside = (position - centre).abs() <= size / 4  # (2, B, H)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]  # (B, 1, H, W)
    return torch.where(hole, 0.0, images)


def identity_matrices(images: Tensor) -> Tensor:
    """Returns (B, 2, 2) identities."""
    return torch.eye(2, device=images.device).expand(len(images), 2, 2)


def warp(images: Tensor, matrices: Tensor, shift_x: Tensor, shift_y: Tensor) -> Tensor:
    """Returns square images whose pixel p is the old picture at M·p + shift, interpolated linearly; outside it is grey (0).

    Positions are in pixels from the centre, x before y. Written as a choice of pixels rather than with ``grid_sample``, whose
    gradient adds up in another order on every run on CUDA; this one has a deterministic form.

    Args:
        images: (B, 3, H, H).
        matrices: (B, 2, 2).
        shift_x: (B,), in pixels.
        shift_y: (B,), in pixels.
    """
    count, channels, size, _ = images.shape
    line = torch.arange(size, device=images.device) - (size - 1) / 2
    points = torch.stack(torch.meshgrid(line, line, indexing="xy"))  # (2, H, H)
    moved = (matrices[:, :, :, None, None] * points).sum(2)  # (B, 2, H, H)
    x = moved[:, 0] + shift_x[:, None, None] + (size - 1) / 2  # (B, H, H)
    y = moved[:, 1] + shift_y[:, None, None] + (size - 1) / 2
    pixels = images.permute(0, 2, 3, 1).reshape(count * size * size, channels)
    first = torch.arange(count, device=images.device)[:, None, None] * (size * size)
    left, top = x.floor(), y.floor()
    result = torch.zeros_like(pixels)
    for column in (left, left + 1):
        for row in (top, top + 1):
            weight = (1 - (x - column).abs()) * (1 - (y - row).abs())
            weight = weight * ((column >= 0) & (column < size) & (row >= 0) & (row < size))
            index = first + row.clamp(0, size - 1).long() * size + column.clamp(0, size - 1).long()
            result = result + pixels.index_select(0, index.flatten()) * weight.reshape(-1, 1).to(pixels.dtype)
    return result.reshape(count, size, size, channels).permute(0, 3, 1, 2)  # (B, 3, H, H)


TRANSFORMATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "flip": flip,
    "color": jitter_color,
    "translation": translate_by_pixels,
    "fractional_translation": translate_by_fractions,
    "rotation": rotate,
    "scale": scale,
    "cutout": cut_out,
}
