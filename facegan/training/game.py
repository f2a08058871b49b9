"""The whole GAN game: one move of the discriminator, one of the generator (Goodfellow et al. 2014).

In: both networks, real and generated images. Out: each move's loss, ready for ``backward``, and the logits behind it. A move
changes nobody's weights, and the generator's move computes no gradient of its opponent's weights.
"""

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facegan.models.whole_batch import see_rows
from facegan.training.augmentation import Augmentation
from facegan.training.losses import Objective, gradient_penalty, interpolate, squared_gradient_norms


@dataclasses.dataclass(frozen=True)
class Game:
    """What both networks agree on.

    Attributes:
        objective: both losses.
        penalty: "none"; "r1" on real images; "r1_r2" on real and generated ones; "wgan_gp" between them.
        penalty_interval: the penalty is taken on every so manieth step, and weighs that many times as much there.
        penalty_stride: and there on every so manieth image of the batch. Then each step can have its penalty for as little work as one
            on every so manieth step, and Adam's steps are not torn between two sizes of gradients. The discriminator sees the
            others apart from these, so above 1 it must judge each image by itself.
        augmentation: what stands between any image and the discriminator.
        fresh_batch: the generator's move gets real and generated images of its own, rather than those that the discriminator
            has just learned from.
    """

    objective: Objective
    penalty: str
    penalty_interval: int
    penalty_stride: int
    augmentation: Augmentation
    fresh_batch: bool


class StepValues(NamedTuple):
    """What changes during training and both moves need, as 0-dim tensors on the training device."""

    gamma: Tensor
    strength: Tensor


class Move(NamedTuple):
    """A move's loss, a scalar to call ``backward`` on, and the logits (B,) behind it."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor


def discriminator_move(discriminator: nn.Module, game: Game, values: StepValues, real: Tensor, fake: Tensor, penalize: bool) -> Move:
    """Tells real images from generated ones. Images: (B, 3, H, W) in [-1, 1]; the generator gets no gradient."""
    stride = game.penalty_stride if penalize else 1
    some_real, some_real_logits, real_logits = judge(discriminator, game, values, real, stride, penalize)
    some_fake, some_fake_logits, fake_logits = judge(discriminator, game, values, fake, stride, penalize and game.penalty == "r1_r2")
    with see_rows(*(slice(first, None, stride) for first in range(stride))):  # the logits' order
        loss = game.objective.discriminator(real_logits, fake_logits)
    if penalize:
        penalty = compute_penalty(discriminator, game, values, (some_real, some_real_logits), (some_fake, some_fake_logits))
        loss = loss + game.penalty_interval * values.gamma * penalty
    return Move(loss, real_logits.detach(), fake_logits.detach())


def judge(
    discriminator: nn.Module, game: Game, values: StepValues, images: Tensor, stride: int, with_slopes: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns every so manieth of the images (B / stride, 3, H, W), their logits, and all logits (B,), these images' first.

    Args:
        with_slopes: whether gradients with respect to those images will be asked for.
    """
    some = images.detach()[::stride].requires_grad_(with_slopes)
    if stride == 1:
        logits = discriminator(game.augmentation(some, values.strength)).float()  # (B,)
        return some, logits, logits
    whole = images.detach().clone()  # in their own order, in which augmentation gives them their random numbers
    whole[::stride] = some
    seen = game.augmentation(whole, values.strength)  # (B, 3, H, W)
    # a pass of their own, so that nothing of the others is differentiated twice
    parts = [(slice(0, None, stride),), tuple(slice(first, None, stride) for first in range(1, stride))]
    logits = []
    for rows in parts:
        with see_rows(*rows):
            logits.append(discriminator(torch.cat([seen[row] for row in rows])).float())
    return some, logits[0], torch.cat(logits)


def generator_move(discriminator: nn.Module, game: Game, values: StepValues, real: Tensor, fake: Tensor) -> Move:
    """Makes generated images pass for real ones. ``fake`` carries the generator's gradient."""
    discriminator.requires_grad_(False)  # the opponent only judges; its weights' gradients would be thrown away
    fake_logits = discriminator(game.augmentation(fake, values.strength)).float()  # (B,)
    real_logits = discriminator(game.augmentation(real, values.strength)).float() if game.objective.paired else fake_logits  # (B,)
    discriminator.requires_grad_(True)
    loss = game.objective.generator(real_logits, fake_logits)
    return Move(loss, real_logits.detach(), fake_logits.detach())


def compute_penalty(
    discriminator: nn.Module, game: Game, values: StepValues, real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor]
) -> Tensor:
    """Returns the penalty, before its weight γ: a scalar. Gradients are taken with respect to the un-augmented images.

    r1, r2: half the mean squared norm (Mescheder et al. 2018). wgan_gp: the mean of (norm - 1)² (Gulrajani et al. 2017).

    Args:
        real, fake: images (B, 3, H, W) that require a gradient, and their logits (B,).
    """
    if game.penalty == "wgan_gp":
        between = interpolate(real[0], fake[0])  # (B, 3, H, W)
        return gradient_penalty(lambda images: discriminator(game.augmentation(images, values.strength)), between, center=1).mean()
    penalty = squared_gradient_norms(real[1], real[0]).mean() / 2
    if game.penalty == "r1_r2":
        penalty = penalty + squared_gradient_norms(fake[1], fake[0]).mean() / 2
    return penalty
