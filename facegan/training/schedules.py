"""Numbers that change in the course of training, as functions of the real images seen.

In: a parameter as it stands in params.yaml, a number or a pair [start, end]. Out: plain floats. A pair follows half a cosine
over the first ``schedule_images`` images and keeps its end from there on, as R3GAN (Huang et al. 2024,
"The GAN is dead; long live the GAN!") has it for lr, β2, γ, the augmentation's strength and the average's half-life.
"""

import math

from facegan.common.errors import FaceganError

Setting = float | tuple[float, float]

PUBLISHED_GAMMA_AT_64 = 2.0  # R3GAN on FFHQ-64, at the start; a tenth of it at the end
PUBLISHED_GAMMA_AT_256 = 150.0  # R3GAN on FFHQ-256
GAMMA_EXPONENT = math.log(PUBLISHED_GAMMA_AT_256 / PUBLISHED_GAMMA_AT_64, 256 / 64)  # 3.11
PUBLISHED_IMAGES = 70_000  # FFHQ, which both of them were chosen on


def cosine(start: float, end: float, images_seen: int, over: int) -> float:
    """Returns ``start`` at no images, the mean of both half-way, and ``end`` at ``over`` images and after."""
    progress = min(1.0, images_seen / over)
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def value_at(setting: Setting, images_seen: int, schedule_images: int | None) -> float:
    """Returns a parameter's value after so many images: a number is constant, a pair follows ``cosine``.

    Raises:
        FaceganError: a pair without ``schedule_images`` to run over.
    """
    if isinstance(setting, int | float):
        return float(setting)
    if not schedule_images:
        raise FaceganError(f"expected train.schedule_images beside a pair such as {list(setting)}; found none; set it, or give one number")
    start, end = setting
    return cosine(start, end, images_seen, schedule_images)


def gamma_for(resolution: int, images: int, penalty: str = "r1_r2", batch: int = 256) -> Setting:
    """Returns the weight γ of the gradient penalty where the preset says ``auto``; docs/models.md has the reasoning.

    r1_r2: the power of the resolution that passes through R3GAN's published 2 at 64 px and 150 at 256 px, falling to a tenth;
    more for fewer than 70,000 training images, up to four times. r1: StyleGAN2-ADA's 0.0002 · resolution² / batch. wgan_gp:
    10 (Gulrajani et al. 2017). none: 0.
    """
    if penalty == "r1_r2":
        scarcity = min(4.0, max(1.0, math.sqrt(PUBLISHED_IMAGES / images)))
        start = PUBLISHED_GAMMA_AT_64 * (resolution / 64) ** GAMMA_EXPONENT * scarcity
        return start, start / 10
    return {"r1": 0.0002 * resolution**2 / batch, "wgan_gp": 10.0, "none": 0.0}[penalty]
