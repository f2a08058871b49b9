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

from facegan.common.errors import FaceganError
from facegan.models.whole_batch import draw

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
            raise FaceganError(
                f"train.augment: expected none, full or some of {choices}, separated by commas; found {unknown[0]!r}; mend it"
            )
        self.color, self.cutout = "color" in names, "cutout" in names
        self.motions = [motion for name, motion in MOTIONS.items() if name in names]

    def __call__(self, images: Tensor, strength: Tensor) -> Tensor:
        """Returns the images, some of them transformed. ``strength``: a 0-dim tensor on the images' device."""

        def choose() -> Tensor:
            return draw_uniform(images) < strength  # (B,); never at strength 0, always at 1

        if self.color:
            images = torch.where(choose()[:, None, None, None], jitter_color(images), images)
        if self.motions:
            matrices = torch.eye(3, device=images.device).expand(len(images), 3, 3)
            moved = torch.zeros(len(images), dtype=torch.bool, device=images.device)
            for motion in self.motions:
                chosen = choose()
                matrices = torch.where(chosen[:, None, None], multiply(matrices, motion(images)), matrices)
                moved = moved | chosen
            images = torch.where(moved[:, None, None, None], warp(images, matrices), images)
        if self.cutout:
            images = torch.where(choose()[:, None, None, None], cut_out(images), images)
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


def draw_uniform(images: Tensor) -> Tensor:
    """Returns a number in [0, 1) for each image: (B,)."""
    return draw(lambda count: torch.rand(count, device=images.device), len(images))


def jitter_color(images: Tensor) -> Tensor:
    """Changes brightness by ±0.5, saturation by ×[0, 2] and contrast by ×[0.5, 1.5], as DiffAugment does."""
    numbers = draw(lambda count: torch.rand(3, count, 1, 1, 1, device=images.device, dtype=images.dtype), len(images), dim=1)
    brightness, saturation, contrast = numbers  # each (B, 1, 1, 1)
    images = images + brightness - 0.5
    grey = images.mean(1, keepdim=True)  # (B, 1, H, W)
    images = (images - grey) * (2 * saturation) + grey
    level = images.mean((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return (images - level) * (contrast + 0.5) + level


# The motions return matrices (B, 3, 3), one for each of the images; see make_matrices.


def flip(images: Tensor) -> Tensor:
    """Mirrors every other image, left for right."""
    sign = torch.where(draw_uniform(images) < 0.5, -1.0, 1.0)
    return make_matrices((sign, 0, 0), (0, 1, 0))


def translate_by_pixels(images: Tensor) -> Tensor:
    """Moves images by whole pixels, up to an eighth of their size each way."""
    reach = images.shape[3] // 8
    x, y = draw(lambda count: torch.randint(-reach, reach + 1, (2, count), device=images.device), len(images), dim=1).float()
    return make_matrices((1, 0, x), (0, 1, y))


def translate_by_fractions(images: Tensor) -> Tensor:
    """Moves images by any distance, normally distributed with an eighth of their size as deviation."""
    x, y = draw(lambda count: torch.randn(2, count, device=images.device), len(images), dim=1) * (images.shape[3] / 8)
    return make_matrices((1, 0, x), (0, 1, y))


def rotate(images: Tensor) -> Tensor:
    """Turns images about their centre by any angle."""
    angle = draw_uniform(images) * (2 * math.pi)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return make_matrices((cosine, -sine, 0), (sine, cosine, 0))


def scale(images: Tensor) -> Tensor:
    """Zooms images about their centre by 2^(0.2 · normal)."""
    factor = torch.exp2(0.2 * draw(lambda count: torch.randn(count, device=images.device), len(images)))
    return make_matrices((factor, 0, 0), (0, factor, 0))


MOTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "flip": flip,
    "translation": translate_by_pixels,
    "fractional_translation": translate_by_fractions,
    "rotation": rotate,
    "scale": scale,
}
TRANSFORMATIONS = ("color", *MOTIONS, "cutout")


def make_matrices(*rows: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    """Returns (B, 3, 3), where each pixel of the new pictures lies in the old ones.

    It lies at M·p for the pixel p = (x, y, 1), in pixels from the centre. Motions one after the other are the product of
    their matrices, so that each image is interpolated once, however many befall it.

    Args:
        rows: the first two of M, each entry one for all or one for each image (B,); the third is (0, 0, 1).
    """
    entries = [entry for row in (*rows, (0, 0, 1)) for entry in row]
    some = next(entry for entry in entries if isinstance(entry, Tensor))
    entries = [entry if isinstance(entry, Tensor) else torch.full_like(some, entry) for entry in entries]
    return torch.stack(entries, 1).unflatten(1, (3, 3))


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """Returns the products of matrices (B, 3, 3), in float32 also under autocast, which would round ``@`` to whole pixels."""
    return (first[:, :, :, None] * second[:, None]).sum(2)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Returns square images whose pixel p is the old picture at M·p, interpolated linearly; outside it is grey (0).

    Written as a choice of pixels rather than with ``grid_sample``, whose gradient adds up in another order on every run on
    CUDA; this one has a deterministic form.

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


def cut_out(images: Tensor) -> Tensor:
    """Greys a square half as wide as the image, whose centre lies anywhere in it."""
    size = images.shape[3]
    centre = draw(lambda count: torch.rand(2, count, 1, device=images.device), len(images), dim=1) * size
    position = torch.arange(size, device=images.device) + 0.5
    inside = (position - centre).abs() <= size / 4  # (2, B, H)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]  # (B, 1, H, W)
    return torch.where(hole, 0.0, images)
