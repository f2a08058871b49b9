"""Finding a photo in a generator: the code whose face looks most like it, by gradient descent.

In: a generator and a target image. Out: better and better codes. Many faces are drawn first, and the likeliest become starts; then Adam
moves all starts at once, on pixels at several sizes and on a feature network's first layers where its weights are at hand. What the
codes' own distribution makes unlikely costs a little, which keeps the result a face. For StyleGAN2 the styles are sought (one for all
layers, then each layer's own), since latents are hard to move through the mapping network (Abdal et al. 2019, "Image2StyleGAN").
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.models.latents import seeded_latents
from facegan.sampling import codes
from facegan.scoring.extractors import open_extractor

DRAWN, STARTS, STEPS = 512, 8, 400
LEARNING_RATE = 0.1
PRIOR = 1e-4  # what a code's distance from the codes' mean costs, in squared deviations a number
FEATURES = 0.02  # what the features' distance costs beside the pixels', in the target's own variance
FEATURE_PIXELS, FEATURE_STAGES = 64, 2
ROWS_APART = 0.5  # of the steps, all rows of a code move as one


@dataclasses.dataclass(frozen=True)
class Found:
    """How far the search has come.

    Attributes:
        step, steps: of the descent.
        code: the best so far, (1, S, L).
        error: its root mean squared difference from the target, in levels of 255.
    """

    step: int
    steps: int
    code: Tensor
    error: float


@functools.cache
def open_features() -> Callable[[Tensor], Tensor] | None:
    """Returns the first layers of EfficientNet-Lite0 as a function of images (N, 3, H, W) in [-1, 1]; None where its package is missing.

    Only the first few blocks, and at 64 px: they see edges, colours and textures, and cost little.
    """
    try:
        body = open_extractor("efficientnet_lite0", device="cpu").network.body
    except (FaceganError, ImportError):
        return None

    def extract(images: Tensor) -> Tensor:
        pictures = functional.interpolate(images, (FEATURE_PIXELS, FEATURE_PIXELS), mode="bilinear", align_corners=False)
        features = body.bn1(body.conv_stem((pictures * 127.5 + 0.5) / 128))  # normalisation and activation in one
        return body.blocks[:FEATURE_STAGES](features).flatten(1)

    return extract


def find(
    generator: nn.Module, target: Tensor, extract: Callable[[Tensor], Tensor] | None = None, steps: int = STEPS, every: int = 10
) -> Iterator[Found]:
    """Yields the best code now and then, the last time at the end.

    Args:
        target: (3, H, W) in [-1, 1].
        extract: images (N, 3, H, W) in [-1, 1] to features (N, D), differentiable.
        every: so many steps lie between two results.
    """
    device = codes.device_of(generator)
    target = target[None].to(device)
    drawn = codes.encode(generator, seeded_latents(generator, DRAWN, 0).to(device), 1.0)  # (N, S, L)
    mean, deviation = drawn.mean(0, keepdim=True), drawn.std(0, keepdim=True).clamp(min=1e-6)
    wanted = extract(target).detach() if extract else None
    spread = wanted.var() if extract else None
    starts = drawn[rank(generator, drawn, target)[:STARTS]].clone()
    moved = ((starts - mean) / deviation)[:, :1].clone().requires_grad_()  # in deviations, one row for all
    optimiser = torch.optim.Adam([moved], LEARNING_RATE)
    uniform = generator.latent_distribution == "uniform" and not codes.has_styles(generator)
    for step in range(1, steps + 1):
        if step == int(ROWS_APART * steps) and codes.has_styles(generator):
            moved = moved.detach().expand_as(starts).clone().requires_grad_()
            optimiser = torch.optim.Adam([moved], LEARNING_RATE / 2)
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 4 * (1 - step / (steps + 1)), step / 10)
        code = mean + deviation * moved.expand_as(starts)
        code = code.clamp(-1, 1) if uniform else code
        images = codes.synthesize(generator, code)
        loss = compare_pixels(images, target) + PRIOR * moved.square().mean((1, 2))  # (N,)
        if extract:
            loss = loss + FEATURES * (extract(images) - wanted).square().mean(1) / spread
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
        if step % every == 0 or step == steps:
            # nothing is yielded within a no_grad: the next call may come from another thread, and this one would stay without gradients
            distance = (images.detach().clamp(-1, 1) - target).square().mean((1, 2, 3))
            best = int(distance.argmin())
            yield Found(step, steps, code[best : best + 1].detach(), float(distance[best].sqrt() * 127.5))


@torch.no_grad()
def rank(generator: nn.Module, drawn: Tensor, target: Tensor) -> Tensor:
    """Returns the order of codes (N, S, L) by how near their faces are to the target, nearest first."""
    distances = [compare_pixels(codes.synthesize(generator, part), target) for part in drawn.split(codes.FACES_AT_ONCE)]
    return torch.cat(distances).argsort()


def compare_pixels(images: Tensor, target: Tensor) -> Tensor:
    """Returns the mean squared differences (N,) of images (N, 3, H, W) and a target (1, 3, H, W), over three sizes: the coarse shape counts too."""
    total = (images - target).square().mean((1, 2, 3))
    for factor in (2, 4):
        total = total + (functional.avg_pool2d(images, factor) - functional.avg_pool2d(target, factor)).square().mean((1, 2, 3))
    return total / 3
