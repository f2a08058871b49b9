"""What the two networks minimise: objectives and gradient penalties, each with its equation and its paper.

In: logits (B,) of real and of generated images, large where the discriminator D believes an image real; probabilities are
σ(logit). Out: scalars to minimise. Everything is computed in float32 or wider, also under autocast, and nothing waits for
the device, so a complete step can be captured in a CUDA graph. Random numbers are arguments.

With σ the logistic function, softplus(t) = log(1 + eᵗ), so −log σ(t) = softplus(−t) and −log(1 − σ(t)) = softplus(t): the
logarithms of the papers never meet a zero here.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus

from facegan.models.layers import full_precision

LABEL_NOISE = 0.05
KERAS_LOGIT_LIMIT = 16.118095  # log((1 - 1e-7) / 1e-7): Keras clips probabilities to [1e-7, 1 - 1e-7]

Loss = Callable[..., Tensor]  # (real_logits, fake_logits), and label noise where the objective has it


def at_least_float32(values: Tensor) -> Tensor:
    """Returns the values in float32 or wider: half precision has too few digits for a mean of small differences."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def discriminator_cross_entropy(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Cross-entropy, the sum over both kinds: L_D = −E log D(x) − E log(1 − D(G(z))).

    Goodfellow et al. 2014, "Generative adversarial nets", equation 1 (which D maximises). The optimal D is
    p_data / (p_data + p_generator).
    """
    return softplus(-real_logits).mean() + softplus(fake_logits).mean()


def generator_minimax(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The original minimax loss: L_G = E log(1 − D(G(z))).

    Goodfellow et al. 2014, equation 1 (which G minimises). Its gradient vanishes where D is sure of itself.
    """
    return -softplus(fake_logits).mean()


def generator_non_saturating(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The non-saturating loss: L_G = −E log D(G(z)).

    Goodfellow et al. 2014, the end of section 3: the same fixed point as minimax, with a strong gradient early on.
    """
    return softplus(-fake_logits).mean()


def discriminator_hinge(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Hinge loss, on logits t: L_D = E max(0, 1 − t(x)) + E max(0, 1 + t(G(z))).

    Lim and Ye 2017, "Geometric GAN"; Miyato et al. 2018, equation 16. The minimum is 2 when the distributions are equal.
    """
    return relu(1 - real_logits).mean() + relu(1 + fake_logits).mean()


def discriminator_wasserstein(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Wasserstein loss, on logits t: L_D = E t(G(z)) − E t(x).

    Arjovsky, Chintala and Bottou 2017, equation 2. Over functions with slopes of at most 1, the minimum is minus the earth mover's
    distance; ``gradient_penalty`` with centre 1 on ``interpolate``d images limits the slope.
    """
    return fake_logits.mean() - real_logits.mean()


def generator_negative_logit(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The generator's side of hinge and Wasserstein, on logits t: L_G = −E t(G(z))."""
    return -fake_logits.mean()


def discriminator_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Relativistic pairing loss, on logits t of pairs: L_D = E softplus(−(t(x) − t(G(z)))).

    Jolicoeur-Martineau 2018, "The relativistic discriminator"; Huang et al. 2024 pair within the batch. The minimum is log 2 when the
    distributions are equal.
    """
    return softplus(fake_logits - real_logits).mean()


def generator_relativistic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The generator's side of the relativistic pairing loss: L_G = E softplus(t(x) − t(G(z)))."""
    return softplus(real_logits - fake_logits).mean()


def discriminator_noisy_labels(real_logits: Tensor, fake_logits: Tensor, noise: Tensor) -> Tensor:
    """Cross-entropy with noisy labels: L_D = E [−y log P − (1 − y) log(1 − P)], one mean over real and fake images.

    P = σ(−logit) is the probability of being fake; y is 1 for a fake image and 0 for a real one, plus 0.05·u with u uniform in [0, 1).
    From the Keras human-face tutorial (Chauhan 2020). Labels above 1 would drive fake logits to infinity; as in Keras, probabilities are
    clipped at 1e-7, where the gradient vanishes.

    Args:
        noise: u, (B, 2): for the fake and for the real image of each pair.
    """
    fake_log_odds = -torch.cat([fake_logits, real_logits]).clamp(-KERAS_LOGIT_LIMIT, KERAS_LOGIT_LIMIT)  # (2B,)
    labels = torch.cat([torch.ones_like(fake_logits), torch.zeros_like(real_logits)])
    labels = labels + LABEL_NOISE * noise.T.flatten()
    return (softplus(fake_log_odds) - labels * fake_log_odds).mean()


def generator_noisy_labels(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """The generator's side of the noisy labels: fresh fakes against the label 0, without noise; probabilities are clipped."""
    return softplus(-fake_logits.clamp(-KERAS_LOGIT_LIMIT, KERAS_LOGIT_LIMIT)).mean()


@dataclasses.dataclass(frozen=True)
class Objective:
    """What each network minimises: functions of (real_logits (B,), fake_logits (B,)) in float32 or wider, to a scalar.

    Attributes:
        paired: whether the generator's loss depends on the real logits.
        noisy: whether the discriminator's loss takes a third argument, label noise (B, 2), uniform in [0, 1).
    """

    discriminator: Loss
    generator: Loss
    paired: bool = False
    noisy: bool = False


OBJECTIVES = {
    "non_saturating": Objective(discriminator_cross_entropy, generator_non_saturating),
    "minimax": Objective(discriminator_cross_entropy, generator_minimax),
    "hinge": Objective(discriminator_hinge, generator_negative_logit),
    "wasserstein": Objective(discriminator_wasserstein, generator_negative_logit),
    "relativistic": Objective(discriminator_relativistic, generator_relativistic, paired=True),
    "noisy_labels": Objective(discriminator_noisy_labels, generator_noisy_labels, noisy=True),
}


def label_cross_entropy(logits: Tensor, labels: Tensor, sizes: list[int]) -> Tensor:
    """Returns the cross-entropy of label values, as a mean over columns and images: a scalar.

    Both networks minimise it, the discriminator on real images and the generator on its own (Odena et al. 2017).

    Args:
        logits, labels: of the values of all columns, and one-hot: (B, values).
        sizes: the number of values of each column.
    """
    columns = zip(logits.split(sizes, 1), labels.split(sizes, 1), strict=True)
    return torch.stack([cross_entropy(*column) for column in columns]).mean()


def squared_gradient_norms(logits: Tensor, images: Tensor) -> Tensor:
    """Returns ‖∇t(x)‖² for each image, as (B,) in float32 or wider, ready to be differentiated again.

    On real images this is R1, on generated images R2 (Mescheder et al. 2018, "Which training methods for GANs do actually
    converge?", equation 9). The norm is over channels, height and
    width. ``game.compute_penalty`` halves the mean, and ``game.discriminator_loss`` multiplies it by γ.

    Args:
        logits: (B,), computed from ``images``; an augmentation between the two is differentiated through.
        images: (B, 3, H, W), which require a gradient.
    """
    with full_precision(images.device):  # autocast would round what the network computed in float32
        (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)  # (B, 3, H, W)
    return at_least_float32(gradients).square().sum((1, 2, 3))  # (B,)


def gradient_penalty(network: Callable[[Tensor], Tensor], images: Tensor, center: float = 0.0) -> Tensor:
    """Returns (‖∇t(x)‖ − center)² for each image, as (B,) in float32 or wider, ready to be differentiated again.

    Centre 1 on ``interpolate``d images is WGAN-GP (Gulrajani et al. 2017, equation 3; the caller takes the mean and multiplies by λ).
    Centre 0 is ``squared_gradient_norms``, which R1 and R2 use directly.

    Args:
        network: images (B, 3, H, W) to logits (B,).
        images: (B, 3, H, W); they are detached from the graph that computed them.
    """
    images = images.detach().requires_grad_()
    squared_norms = squared_gradient_norms(network(images), images)  # (B,)
    if center == 0:
        return squared_norms
    norms = (squared_norms + 1e-12).sqrt()  # the root's own derivative is infinite at 0
    return (norms - center).square()


def interpolate(real_images: Tensor, fake_images: Tensor, share: Tensor) -> Tensor:
    """Returns images (B, 3, H, W) on the line between real and generated ones. ``share``: how far along it, (B, 1, 1, 1) in [0, 1]."""
    return real_images.lerp(fake_images.to(real_images.dtype), share)
