"""Values that change during training, as functions of the number of real images seen.

A parameter is a number or a pair [start, end]. A pair follows half a cosine over the first ``schedule_images`` images and stays at its end
from there on, as in R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!") for lr, β2, γ, the augmentation's strength and the
EMA's half-life.
"""

import dataclasses
import math

from facegan.common.errors import FaceganError
from facegan.training.parameters import TrainParameters

Setting = float | tuple[float, float]

KERAS_LR_DECAY = 1e-8  # per step, in the Keras tutorial
PUBLISHED_GAMMA_AT_64 = 2.0  # R3GAN on FFHQ-64, at the start; a tenth of it at the end
PUBLISHED_GAMMA_AT_256 = 150.0  # R3GAN on FFHQ-256
GAMMA_EXPONENT = math.log(PUBLISHED_GAMMA_AT_256 / PUBLISHED_GAMMA_AT_64, 256 / 64)  # 3.11
PUBLISHED_IMAGES = 70_000  # in FFHQ, for which both were chosen


@dataclasses.dataclass(frozen=True)
class StepValues:
    """The scheduled values of one step."""

    generator_lr: float
    discriminator_lr: float
    betas: tuple[float, float]
    gamma: float
    strength: float | None  # None: adaptive
    ema_decay: float


class Schedule:
    """The scheduled values of a run.

    Args:
        resolution, images: of the training data, which determine γ where it is "auto".

    Attributes:
        depends_on_length: whether a longer run takes different steps from the beginning: γ "auto" falls over the complete run if there
            is no ``schedule_images``.
    """

    def __init__(self, parameters: TrainParameters, resolution: int, images: int):
        self.parameters = parameters
        self.gamma: Setting = (
            gamma_for(resolution, images, parameters.penalty, parameters.batch) if parameters.gamma == "auto" else parameters.gamma
        )
        self.depends_on_length = parameters.schedule_images is None and isinstance(self.gamma, tuple)

    def at(self, images_seen: int) -> StepValues:
        """Returns the values of the step after ``images_seen`` images."""
        parameters, over = self.parameters, self.parameters.schedule_images
        lr = value_at(parameters.lr, images_seen, over)
        if parameters.optimizer == "rmsprop":
            lr /= 1 + KERAS_LR_DECAY * (images_seen // parameters.batch)
        strength = parameters.augment_strength
        return StepValues(
            generator_lr=lr,
            discriminator_lr=lr * parameters.discriminator_lr_ratio,
            betas=(parameters.betas[0], value_at(parameters.betas[1], images_seen, over)),
            gamma=value_at(self.gamma, images_seen, over or parameters.images),
            strength=None if strength == "adaptive" else value_at(strength, images_seen, over),
            ema_decay=decay_factor(parameters.batch, value_at(parameters.ema_halflife_images, images_seen, over)),
        )


def decay_factor(batch: int, halflife_images: float) -> float:
    """Returns the decay of one step: the old average has weight ½ after ``halflife_images`` images."""
    return 0.5 ** (batch / max(halflife_images, 1e-8))


def cosine(start: float, end: float, images_seen: int, over: int) -> float:
    """Returns ``start`` at 0 images, the mean of both half-way, and ``end`` at ``over`` images and after."""
    progress = min(1.0, images_seen / over)
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def value_at(setting: Setting, images_seen: int, schedule_images: int | None) -> float:
    """Returns a parameter's value after ``images_seen`` images: a number is constant, a pair follows ``cosine``.

    Raises:
        FaceganError: a pair without ``schedule_images``.
    """
    if isinstance(setting, int | float):
        return float(setting)
    if not schedule_images:
        raise FaceganError(f"expected train.schedule_images with a pair such as {list(setting)}; found none; set it, or use one number")
    start, end = setting
    return cosine(start, end, images_seen, schedule_images)


def gamma_for(resolution: int, images: int, penalty: str = "r1_r2", batch: int = 256) -> Setting:
    """Returns the weight γ of the gradient penalty for ``train.gamma: auto``; docs/explanation/models.md explains it.

    r1_r2: the power of the resolution through R3GAN's published 2 at 64 px and 150 at 256 px, falling to a tenth; up to four times as
    much for fewer than 70,000 training images. r1: StyleGAN2-ADA's 0.0002 · resolution² / batch. wgan_gp: 10 (Gulrajani et al. 2017).
    none: 0.
    """
    if penalty == "r1_r2":
        scarcity = min(4.0, max(1.0, math.sqrt(PUBLISHED_IMAGES / images)))
        start = PUBLISHED_GAMMA_AT_64 * (resolution / 64) ** GAMMA_EXPONENT * scarcity
        return start, start / 10
    return {"r1": 0.0002 * resolution**2 / batch, "wgan_gp": 10.0, "none": 0.0}[penalty]
