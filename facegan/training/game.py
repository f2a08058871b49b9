"""The GAN game: the discriminator's loss and the generator's loss (Goodfellow et al. 2014).

In: both networks, and the inputs of an update, random numbers included. Out: a loss, ready for ``backward``, and the logits. Both losses
are pure functions: they change no weights and draw no random numbers, so a batch can be split in any way. The generator's loss computes no
gradient of the discriminator's weights.
"""

import dataclasses
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor

from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Noise
from facegan.training.augmentation import Augmentation, Numbers
from facegan.training.losses import Objective, gradient_penalty, interpolate, label_cross_entropy, squared_gradient_norms


@dataclasses.dataclass(frozen=True)
class Game:
    """The rules.

    Attributes:
        objective: both losses.
        penalty: "none"; "r1" on real images; "r1_r2" on real and generated ones; "wgan_gp" between them.
        penalty_interval: the penalty is computed in every n-th step, with n times the weight.
        penalty_stride: only every n-th image of the batch is penalized. Each step can then have a penalty for as little work as a full
            penalty in every n-th step, and gradients have the same scale in every step. The discriminator must judge each image alone.
        augmentation: applied to every image before the discriminator.
        fresh_batch: the generator's update uses real and generated images of its own, not those of the discriminator's update.
    """

    objective: Objective
    penalty: str
    penalty_interval: int
    penalty_stride: int
    augmentation: Augmentation
    fresh_batch: bool


class Values(NamedTuple):
    """Scheduled values that both losses need, as 0-dim tensors on the training device."""

    gamma: Tensor
    strength: Tensor


class View(NamedTuple):
    """The random numbers of one pass through augmentation and discriminator."""

    augmentation: Numbers
    noise: Noise


class Inputs(NamedTuple):
    """The inputs of one update. The first dimension of every tensor is the image, so a microbatch is a slice of all of them.

    Attributes:
        real: (B, 3, H, W) in [-1, 1].
        labels: one-hot (B, values) of the real images, which the generated ones share; (B, 0) without labels.
        latents, noise: the generator's inputs; latents end with the labels.
        fake: (B, 3, H, W), or None where the generator's loss generates them.
        real_view, fake_view, between_view: the random numbers of the discriminator's passes.
        label_noise: (B, 2), where the objective has it.
        share: (B, 1, 1, 1), where between real and generated images WGAN-GP looks.
    """

    real: Tensor
    labels: Tensor
    latents: Tensor
    noise: Noise
    fake: Tensor | None
    real_view: View
    fake_view: View
    label_noise: Tensor | None = None
    share: Tensor | None = None
    between_view: View | None = None


class Judged(NamedTuple):
    """The discriminator's verdicts: logits (B,), and those of the label values (B, values); (B, 0) without labels."""

    logits: Tensor
    label_logits: Tensor


class Losses(NamedTuple):
    """A loss, a scalar to call ``backward`` on, and the logits (B,) that it was computed from."""

    loss: Tensor
    real_logits: Tensor
    fake_logits: Tensor


def discriminator_loss(discriminator: DiscriminatorNetwork, game: Game, values: Values, penalize: bool, inputs: Inputs) -> Losses:
    """Returns the loss of telling real images from generated ones; the generator gets no gradient."""
    stride = game.penalty_stride if penalize else 1
    assert inputs.fake is not None
    real = inputs.real.detach()[::stride].requires_grad_(penalize)  # the images with a penalty
    fake = inputs.fake.detach()[::stride].requires_grad_(penalize and game.penalty == "r1_r2")
    on_real = judge(discriminator, game, values, inputs.real.detach(), inputs.labels, inputs.real_view, stride, real)
    on_fake = judge(discriminator, game, values, inputs.fake.detach(), inputs.labels, inputs.fake_view, stride, fake)
    label_noise = () if inputs.label_noise is None else (take_strided(stride, inputs.label_noise, range(stride)),)
    all_real, all_fake = (parts[0] if stride == 1 else Judged(*map(torch.cat, zip(*parts, strict=True))) for parts in (on_real, on_fake))
    loss = game.objective.discriminator(all_real.logits, all_fake.logits, *label_noise)
    if sizes := discriminator.labels.sizes:
        loss = loss + label_cross_entropy(all_real.label_logits, take_strided(stride, inputs.labels, range(stride)), sizes)
    if penalize:
        penalty = compute_penalty(discriminator, game, values, inputs, (real, on_real[0].logits), (fake, on_fake[0].logits))
        loss = loss + game.penalty_interval * values.gamma * penalty
    return Losses(loss, all_real.logits.detach(), all_fake.logits.detach())


def generator_loss(generator: GeneratorNetwork, discriminator: DiscriminatorNetwork, game: Game, values: Values, inputs: Inputs) -> Losses:
    """Returns the loss of making generated images pass for real ones; the discriminator gets no gradient."""
    fake = generator(inputs.latents, inputs.noise).float() if inputs.fake is None else inputs.fake
    discriminator.requires_grad_(False)
    (on_fake,) = judge(discriminator, game, values, fake, inputs.labels, inputs.fake_view)
    on_real = on_fake
    if game.objective.paired:
        (on_real,) = judge(discriminator, game, values, inputs.real, inputs.labels, inputs.real_view)
    discriminator.requires_grad_(True)
    loss = game.objective.generator(on_real.logits, on_fake.logits)
    if sizes := discriminator.labels.sizes:
        loss = loss + label_cross_entropy(on_fake.label_logits, inputs.labels, sizes)
    return Losses(loss, on_real.logits.detach(), on_fake.logits.detach())


def judge(
    discriminator: DiscriminatorNetwork,
    game: Game,
    values: Values,
    images: Tensor,
    labels: Tensor,
    view: View,
    stride: int = 1,
    penalized: Tensor | None = None,
) -> list[Judged]:
    """Returns the verdicts on augmented images (B, 3, H, W) with these labels (B, values), in float32.

    With a stride, two verdicts: on every n-th image, which ``penalized`` replaces, and on the others. The second pass is separate,
    so that only the penalized images are differentiated twice.
    """
    if stride == 1:
        images = images if penalized is None else penalized
        return [split_outputs(discriminator(game.augmentation(images, values.strength, view.augmentation), view.noise, labels))]
    images = images.clone()
    images[::stride] = cast(Tensor, penalized)
    seen = game.augmentation(images, values.strength, view.augmentation)  # (B, 3, H, W)
    chosen, others = range(1), range(1, stride)
    noises = [tuple(take_strided(stride, numbers, first) for numbers in view.noise) for first in (chosen, others)]
    groups = [
        (take_strided(stride, seen, first), noise, take_strided(stride, labels, first))
        for first, noise in zip((chosen, others), noises, strict=True)
    ]
    return [split_outputs(discriminator(*group)) for group in groups]  # B / stride images, and the others


def split_outputs(outputs: Tensor) -> Judged:
    """Returns the outputs of a discriminator, (B,) or (B, 1 + values), as verdicts in float32."""
    outputs = outputs.float()
    return Judged(outputs, outputs[:, None][:, 1:]) if outputs.ndim == 1 else Judged(outputs[:, 0], outputs[:, 1:])


def take_strided(stride: int, values: Tensor, first: range) -> Tensor:
    """Returns every n-th row from each of the first ones on."""
    return torch.cat([values[start::stride] for start in first])


def compute_penalty(
    discriminator: DiscriminatorNetwork,
    game: Game,
    values: Values,
    inputs: Inputs,
    real: tuple[Tensor, Tensor],
    fake: tuple[Tensor, Tensor],
) -> Tensor:
    """Returns the penalty, before its weight γ: a scalar. Gradients are taken with respect to the images before augmentation.

    r1, r2: half the mean squared norm (Mescheder et al. 2018). wgan_gp: the mean of (norm - 1)² (Gulrajani et al. 2017).

    Args:
        real, fake: images (B, 3, H, W) that require a gradient, and their logits (B,).
    """
    if game.penalty == "wgan_gp":
        view = cast(View, inputs.between_view)
        between = interpolate(real[0], fake[0], cast(Tensor, inputs.share))  # (B, 3, H, W)
        logits_of = partial(judge, discriminator, game, values, labels=inputs.labels, view=view)
        return gradient_penalty(lambda images: logits_of(images)[0].logits, between, center=1).mean()
    penalty = squared_gradient_norms(real[1], real[0]).mean() / 2
    if game.penalty == "r1_r2":
        penalty = penalty + squared_gradient_norms(fake[1], fake[0]).mean() / 2
    return penalty
