"""Differentiable augmentation of everything that the discriminator sees, against overfitting to a small data set.

In: images (B, 3, H, W) in [-1, 1], real or generated, a strength from 0 to 1, and random numbers. Out: images of the same shape. Each
transformation is applied to each image with a probability equal to the strength, so below 1 the generator's images stay unaugmented
(Karras et al. 2020, "Training generative adversarial networks with limited data"); at 1, with the policy "color,translation,cutout", this
is DiffAugment (Zhao et al. 2020).

Everything can be differentiated twice, because gradient penalties are computed through it. Shapes are fixed and nothing waits for the
host, so a CUDA graph can hold it.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from facegan.training.parameters import AUGMENTATIONS

ADA_TARGET = 0.6  # mean sign of the discriminator's logits on real images; above it, the discriminator overfits
ADA_IMAGES = 500_000  # images in which the adaptive strength can move from 0 to 1
ADA_LIMIT = 0.8  # above it, rotated and shifted images begin to leak into the generator

Numbers = dict[str, tuple[Tensor, Tensor]]  # by transformation: which images it is applied to, (B,) uniform; its own numbers (B, …)


class Augmentation:
    """A policy: which transformations are applied, always in the order of ``AUGMENTATIONS``.

    Args:
        policy: "none", "full", or names in ``AUGMENTATIONS`` separated by commas, such as DiffAugment's "color,translation,cutout".
    """

    def __init__(self, policy: str):
        names = AUGMENTATIONS if policy == "full" else policy.split(",")
        self.names = [name for name in AUGMENTATIONS if name in names]

    def draw(self, count: int, size: int, random: torch.Generator) -> Numbers:
        """Returns the random numbers for ``count`` images of ``size`` pixels, on the random generator's device."""

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=random, device=random.device)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=random, device=random.device)

        def integers(limit: int, *shape: int) -> Tensor:
            return torch.randint(-limit, limit + 1, shape, generator=random, device=random.device)

        numbers = {
            "color": lambda: uniform(3, count, 1, 1, 1).transpose(0, 1),
            "flip": lambda: uniform(count),
            "translation": lambda: integers(size // 8, 2, count).float().T,
            "fractional_translation": lambda: normal(2, count).T * (size / 8),
            "rotation": lambda: uniform(count),
            "scale": lambda: normal(count),
            "cutout": lambda: uniform(2, count, 1).transpose(0, 1) * size,
        }
        return {name: (uniform(count), numbers[name]()) for name in self.names}

    def __call__(self, images: Tensor, strength: Tensor, numbers: Numbers) -> Tensor:
        """Returns the images, some of them transformed.

        Args:
            strength: a 0-dim tensor on the images' device; at 0 nothing is transformed, at 1 everything.
            numbers: from ``draw``.
        """
        chosen = {name: uniform < strength for name, (uniform, _) in numbers.items()}  # each (B,)
        if "color" in numbers:
            images = torch.where(chosen["color"][:, None, None, None], jitter_color(images, numbers["color"][1]), images)
        motions = [name for name in numbers if name in MOTIONS]
        if motions:
            matrices = torch.eye(3, device=images.device).expand(len(images), 3, 3)
            moved = torch.zeros(len(images), dtype=torch.bool, device=images.device)
            for name in motions:
                matrices = torch.where(chosen[name][:, None, None], multiply(matrices, MOTIONS[name](numbers[name][1])), matrices)
                moved = moved | chosen[name]
            images = torch.where(moved[:, None, None, None], warp(images, matrices), images)
        if "cutout" in numbers:
            images = torch.where(chosen["cutout"][:, None, None, None], cut_out(images, numbers["cutout"][1]), images)
        return images  # (B, 3, H, W)


def adapt(strength: Tensor, mean_sign: Tensor, images_since: int) -> Tensor:
    """Returns the next adaptive strength (ADA): higher while the discriminator overfits to the real images, else lower.

    Args:
        strength: the current one, a 0-dim tensor.
        mean_sign: mean of sign(real_logits) since the last call, a 0-dim tensor; of sign(real_logits - fake_logits) where an objective
            depends on differences only.
        images_since: real images shown since the last call; ADA adapts every fourth step.
    """
    step = torch.sign(mean_sign - ADA_TARGET) * images_since / ADA_IMAGES
    return torch.clamp(strength + step, 0, ADA_LIMIT)


def jitter_color(images: Tensor, numbers: Tensor) -> Tensor:
    """Changes brightness by ±0.5, saturation by ×[0, 2] and contrast by ×[0.5, 1.5], as DiffAugment does."""
    brightness, saturation, contrast = numbers.unbind(1)  # each (B, 1, 1, 1), uniform
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)  # (B, 1, H, W)
    images = (images - grey) * (2 * saturation) + grey
    level = images.mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return (images - level) * (contrast + 0.5) + level


# Each motion turns its numbers into matrices (B, 3, 3), one per image; see ``make_matrices``.


def flip(uniform: Tensor) -> Tensor:
    """Mirrors half of the images, left to right."""
    return make_matrices((torch.where(uniform < 0.5, -1.0, 1.0), 0, 0), (0, 1, 0))


def translate(offsets: Tensor) -> Tensor:
    """Moves images by (B, 2) pixels: by up to an eighth of their size in full pixels, or normally distributed with that deviation."""
    return make_matrices((1, 0, offsets[:, 0]), (0, 1, offsets[:, 1]))


def rotate(uniform: Tensor) -> Tensor:
    """Rotates images around their centre by any angle."""
    angle = uniform * (2 * math.pi)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return make_matrices((cosine, -sine, 0), (sine, cosine, 0))


def scale(normal: Tensor) -> Tensor:
    """Scales images around their centre by 2^(0.2 · normal)."""
    factor = torch.exp2(0.2 * normal)
    return make_matrices((factor, 0, 0), (0, factor, 0))


MOTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "flip": flip,
    "translation": translate,
    "fractional_translation": translate,
    "rotation": rotate,
    "scale": scale,
}


def make_matrices(*rows: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    """Returns matrices (B, 3, 3) that map pixels of the new images to pixels of the old ones.

    The pixel p = (x, y, 1), in pixels from the centre, comes from M·p. Several motions are the product of their matrices, so each image
    is interpolated only once.

    Args:
        rows: the first two rows of M, each entry a number or one per image (B,); the third row is (0, 0, 1).
    """
    entries = [entry for row in (*rows, (0, 0, 1)) for entry in row]
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    return torch.stack([entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in entries], 1).unflatten(1, (3, 3))


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Returns the products of matrices (B, 3, 3) in float32; under autocast ``@`` would round positions to full pixels."""
    return (first[:, :, :, None] * second[:, None]).sum(2)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Returns square images whose pixel p is the old image at M·p, interpolated linearly; outside the image it is grey (0).

    Pixels are gathered by index, because the gradient of ``grid_sample`` is not deterministic on CUDA.

    Args:
        images: (B, 3, H, H).
        matrices: (B, 3, 3), see ``make_matrices``.
    """
    count, channels, size, _ = images.shape
    line = torch.arange(size, device=images.device) - (size - 1) / 2
    points = torch.stack(torch.meshgrid(line, line, indexing="xy"))  # (2, H, H), x before y
    x, y = ((matrices[:, :2, :2, None, None] * points).sum(2) + matrices[:, :2, 2, None, None] + (size - 1) / 2).unbind(1)  # (B, H, H)
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


def cut_out(images: Tensor, centres: Tensor) -> Tensor:
    """Greys a square half as wide as the image around ``centres`` (B, 2, 1), in pixels."""
    size = images.shape[3]
    position = torch.arange(size, device=images.device) + 0.5
    inside = (position - centres).abs() <= size / 4  # (B, 2, H)
    hole = inside[:, 0, None, :, None] & inside[:, 1, None, None, :]  # (B, 1, H, W)
    return torch.where(hole, 0.0, images)
