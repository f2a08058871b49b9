"""GAN inversion: finds the code whose face looks most like a photo, by gradient descent.

In: a generator and a target image. Out: codes of decreasing distance. Many faces are drawn first, and the codes of the most similar ones
are the starting points; then Adam optimises all of them in parallel, on pixels at several sizes and, if its weights are installed, on the
first layers of a feature network. A small penalty on unlikely codes keeps the result a face. For StyleGAN2 the styles are optimised (first
one for all layers, then each layer's own), since latents are hard to optimise through the mapping network (Abdal et al. 2019,
"Image2StyleGAN").
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.sampling import codes
from facegan.scoring.extractors import open_extractor

DRAWN, STARTS, STEPS = 512, 8, 400
LEARNING_RATE = 0.1
PRIOR_WEIGHT = 1e-4  # of a code's mean squared distance from the mean code, in standard deviations
FEATURE_WEIGHT = 0.02  # of the features' distance relative to the pixels', in units of the target features' variance
FEATURE_PIXELS, FEATURE_STAGES = 64, 2
SHARED_ROWS = 0.5  # fraction of the steps in which all rows of a code are equal

Extract = Callable[[Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Found:
    """The state of a search.

    Attributes:
        step, steps: steps done, and in total.
        code: the best code so far, (1, S, L).
        error: its root mean squared difference from the target, in levels of 255.
    """

    step: int
    steps: int
    code: Tensor
    error: float


@functools.cache
def open_features() -> Extract | None:
    """Returns the first layers of EfficientNet-Lite0 as a function of images (N, 3, H, W) in [-1, 1]; None if its package is missing.

    The first blocks at 64 px detect edges, colours and textures at little cost.
    """
    try:
        body: Any = open_extractor("efficientnet_lite0", device="cpu").network.body
    except (FaceganError, ImportError):
        return None

    def extract(images: Tensor) -> Tensor:
        resized = functional.interpolate(images, (FEATURE_PIXELS, FEATURE_PIXELS), mode="bilinear", align_corners=False)
        features = body.bn1(body.conv_stem((resized * 127.5 + 0.5) / 128))  # normalisation and activation in one
        return body.blocks[:FEATURE_STAGES](features).flatten(1)

    return extract


def find(
    generator: GeneratorNetwork, target: Tensor, extract: Extract | None = None, steps: int = STEPS, every: int = 10
) -> Iterator[Found]:
    """Yields the best code after every ``every`` steps and after the last one.

    Args:
        target: (3, H, W) in [-1, 1].
        extract: images (N, 3, H, W) in [-1, 1] to features (N, D), differentiable.
    """
    device = codes.device_of(generator)
    target = target[None].to(device)
    drawn = codes.encode(generator, seeded_latents(generator, DRAWN, 0).to(device), 1.0)  # (N, S, L)
    mean, deviation = drawn.mean(0, keepdim=True), drawn.std(0, keepdim=True).clamp(min=1e-6)
    target_features = extract(target).detach() if extract else None
    starts = drawn[rank(generator, drawn, target)[:STARTS]].clone()
    offsets = ((starts - mean) / deviation)[:, :1].clone().requires_grad_()  # in standard deviations, one row for all
    optimizer = torch.optim.Adam([offsets], LEARNING_RATE)
    uniform = generator.latent_distribution == "uniform" and not codes.has_styles(generator)
    for step in range(1, steps + 1):
        if step == int(SHARED_ROWS * steps) and codes.has_styles(generator):
            offsets = offsets.detach().expand_as(starts).clone().requires_grad_()
            optimizer = torch.optim.Adam([offsets], LEARNING_RATE / 2)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 4 * (1 - step / (steps + 1)), step / 10)
        code = mean + deviation * offsets.expand_as(starts)
        code = code.clamp(-1, 1) if uniform else code
        images = codes.synthesize(generator, code)
        loss = compare_pixels(images, target) + PRIOR_WEIGHT * offsets.square().mean((1, 2))  # (N,)
        if extract and target_features is not None:
            loss = loss + FEATURE_WEIGHT * (extract(images) - target_features).square().mean(1) / target_features.var()
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        if step % every == 0 or step == steps:
            # no no_grad around the yield: the next call may come from another thread and leave this one with gradients disabled
            distance = (images.detach().clamp(-1, 1) - target).square().mean((1, 2, 3))
            best = int(distance.argmin())
            yield Found(step, steps, code[best : best + 1].detach(), float(distance[best].sqrt() * 127.5))


@torch.no_grad()
def rank(generator: GeneratorNetwork, drawn: Tensor, target: Tensor) -> Tensor:
    """Returns the indices of codes (N, S, L), sorted by the distance of their faces from the target."""
    distances = [compare_pixels(codes.synthesize(generator, part), target) for part in drawn.split(codes.FACES_AT_ONCE)]
    return torch.cat(distances).argsort()


def compare_pixels(images: Tensor, target: Tensor) -> Tensor:
    """Returns the mean squared differences (N,) of images (N, 3, H, W) and a target (1, 3, H, W), averaged over three sizes, since the
    coarse shape matters too.
    """
    total = (images - target).square().mean((1, 2, 3))
    for factor in (2, 4):
        total = total + (functional.avg_pool2d(images, factor) - functional.avg_pool2d(target, factor)).square().mean((1, 2, 3))
    return total / 3
