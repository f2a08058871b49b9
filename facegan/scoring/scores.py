"""Two sets of features to named scores, and how far another seed's scores may lie from them.

In: features of real images and of generated ones, (N, D) each. Out: a dictionary of numbers.

The uncertainty is a delete-a-group jackknife (Efron and Tibshirani 1993, chapter 11): the generated images fall into ten
groups, and each is left out once. Unlike the bootstrap it repeats no image, which would make a generator look less diverse
than it is.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from facegan.scoring import distances as scores
from facegan.scoring import protocol
from facegan.scoring.extractors import name_frechet, name_kernel

GROUPS = 10
STUDENT_975 = 2.262  # of the t distribution with GROUPS - 1 degrees of freedom


def compare(real: Tensor, fake: Tensor, space: str, classifier: Tensor | None = None) -> dict[str, float]:
    """Returns every score of fake features (M, D) against real ones (N, D), by name.

    Args:
        space: the feature space, which names the scores.
        classifier: (classes, D), for the Inception score, which has no real side.
    """
    size = min(protocol.KERNEL_SUBSET_IMAGES, min(len(real), len(fake)) // 2)
    kernel, spread = scores.kernel_distance_over_subsets(fake, real, protocol.KERNEL_SUBSETS, size, seed=2020)
    results = {
        name_frechet(space): scores.frechet_distance(scores.fit_gaussian(real), scores.fit_gaussian(fake)),
        name_kernel(space): kernel,
        f"{name_kernel(space)}_subset_std": spread,
        **Neighbourhoods(real, fake, space)(torch.arange(min(len(fake), protocol.NEIGHBOUR_IMAGES))),
    }
    if classifier is not None and len(fake) >= GROUPS:
        results[f"inception_score_{space}"], _ = scores.inception_score(fake.double() @ classifier.double().T)
    return results


def estimate_intervals(real: Tensor, fake: Tensor, space: str) -> dict[str, float]:
    """Returns, for each score, half the width of the interval that another seed's score falls into 95 times of 100."""
    gaussian = scores.fit_gaussian(real)
    neighbourhoods = Neighbourhoods(real, fake, space)
    kernels = Kernels(real, fake)

    def score_without(group: int) -> dict[str, float]:
        kept = torch.arange(len(fake)) % GROUPS != group
        near = kept[: protocol.NEIGHBOUR_IMAGES].nonzero().flatten()
        return {
            name_frechet(space): scores.frechet_distance(gaussian, scores.fit_gaussian(fake[kept.to(fake.device)])),
            name_kernel(space): kernels(near),
            **neighbourhoods(near),
        }

    return jackknife(score_without)


def jackknife(score_without: Callable[[int], dict[str, float]]) -> dict[str, float]:
    """Returns the intervals' half widths from the scores with each group left out in turn.

    Two seeds' scores both vary, so their difference has twice the variance of one.
    """
    parts = [score_without(group) for group in range(GROUPS)]
    widths = {}
    for name in parts[0]:
        values = torch.tensor([part[name] for part in parts], dtype=torch.float64)
        variance = (GROUPS - 1) / GROUPS * (values - values.mean()).square().sum().item()
        widths[name] = STUDENT_975 * math.sqrt(2 * variance)
    return widths


class Neighbourhoods:
    """The distances between real and fake images; called with the fakes to keep, the scores that follow from them."""

    def __init__(self, real: Tensor, fake: Tensor, space: str):
        real, fake = real[: protocol.NEIGHBOUR_IMAGES], fake[: protocol.NEIGHBOUR_IMAGES]
        self.space = space
        self.between = scores.measure_distances(real, fake)
        self.within_real = scores.measure_distances(real, real)
        self.within_fake = scores.measure_distances(fake, fake)

    def __call__(self, kept: Tensor) -> dict[str, float]:
        kept = kept.to(self.between.device)
        between = self.between[:, kept]
        precision, recall = scores.precision_and_recall(between, self.within_real, self.within_fake[kept][:, kept])
        density, coverage = scores.density_and_coverage(between, self.within_real)
        names = ("precision", "recall", "density", "coverage")
        return {f"{name}_{self.space}": value for name, value in zip(names, (precision, recall, density, coverage), strict=True)}


class Kernels:
    """The kernels between real and fake images; called with the fakes to keep, the kernel distance over all of them."""

    def __init__(self, real: Tensor, fake: Tensor):
        real, fake = real[: protocol.NEIGHBOUR_IMAGES], fake[: protocol.NEIGHBOUR_IMAGES]
        self.between = scores.polynomial_kernel(real, fake)
        self.within_fake = scores.polynomial_kernel(fake, fake)
        within_real = scores.polynomial_kernel(real, real)
        self.real = (within_real.sum() - within_real.diagonal().sum()) / (len(real) * (len(real) - 1))

    def __call__(self, kept: Tensor) -> float:
        kept = kept.to(self.between.device)
        within = self.within_fake[kept][:, kept]
        fake = (within.sum() - within.diagonal().sum()) / (len(kept) * (len(kept) - 1))
        return (self.real + fake - 2 * self.between[:, kept].mean()).item()
