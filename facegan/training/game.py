"""The whole GAN game: one move of the discriminator, one of the generator (Goodfellow et al. 2014).

In: both networks, real and generated images. Out: each move's loss, ready for ``backward``, and the logits behind it. A move
changes nobody's weights, and the generator's move computes no gradient of its opponent's weights.
"""

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor, nn

from facegan.training.augmentation import Augmentation
from facegan.training.losses import Objective, gradient_penalty, interpolate, squared_gradient_norms


@dataclasses.dataclass(frozen=True)
class Game:
    """What both networks agree on.

    Attributes:
        objective: both losses.
        penalty: "none"; "r1" on real images; "r1_r2" on real and generated ones; "wgan_gp" between them.
        penalty_interval: the penalty is taken on every so manieth step, and weighs that many times as much there.
        penalty_share: of the batch, on whose first images the penalty is taken. Every step then has its penalty, which costs as
            little as one on every so manieth step, and Adam's steps are not torn between two sizes of gradients.
        augmentation: what stands between any image and the discriminator.
        fresh_batch: the generator's move gets real and generated images of its own, rather than those that the discriminator
            has just learned from.
    """

    objective: Objective
    penalty: str
    penalty_interval: int
    penalty_share: float
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
    real, fake = real.detach(), fake.detach()
    count = max(1, round(game.penalty_share * len(real))) if penalize else 0
    some_real, some_fake = real[:count].requires_grad_(), fake[:count].requires_grad_(game.penalty == "r1_r2")  # (count, 3, H, W)
    real_logits = judge_in_parts(discriminator, game, values, some_real, real[count:])  # (B,)
    fake_logits = judge_in_parts(discriminator, game, values, some_fake, fake[count:])  # (B,)
    loss = game.objective.discriminator(real_logits, fake_logits)
    if penalize:
        penalty = compute_penalty(discriminator, game, values, (some_real, real_logits[:count]), (some_fake, fake_logits[:count]))
        loss = loss + game.penalty_interval * values.gamma * penalty
    return Move(loss, real_logits.detach(), fake_logits.detach())


def judge_in_parts(discriminator: nn.Module, game: Game, values: StepValues, *parts: Tensor) -> Tensor:
    """Returns the logits (B,) of images in parts (each (·, 3, H, W); empty ones are left out), a pass for each, so that a penalty on one
    has a graph of its own."""
    return torch.cat([discriminator(game.augmentation(part, values.strength)).float() for part in parts if len(part)])


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
