"""Named scores of generated features against real ones, and their uncertainty.

Input: features of real images and of generated ones, (N, D) each. Output: a dictionary of numbers.

The uncertainty is a delete-a-group jackknife (Efron and Tibshirani 1993, chapter 11): the generated images are divided into ten groups,
and each group is left out once. Unlike the bootstrap it repeats no image; repeats would make a generator look less diverse than it is.
"""

import math

import torch
from torch import Tensor

from facegan.scoring import distances, protocol
from facegan.scoring.extractors import name_frechet, name_kernel
from facegan.scoring.neighbourhoods import compare_neighbourhoods

GROUPS = 10
STUDENT_975 = 2.262  # of the t distribution with GROUPS - 1 degrees of freedom


def compare(real: Tensor, fake: Tensor, space: str, classifier: Tensor | None = None) -> dict[str, float]:
    """Returns every score of fake features (M, D) against real ones (N, D), by name.

    Args:
        space: the name of the feature space, which is part of the scores' names.
        classifier: (classes, D), for the Inception score, which uses no real images.
    """
    size = min(protocol.KERNEL_SUBSET_IMAGES, min(len(real), len(fake)) // 2)
    kernel, spread = distances.kernel_distance_over_subsets(fake, real, protocol.KERNEL_SUBSETS, size, seed=2020)
    neighbourhoods = compare_neighbourhoods(real[: protocol.NEIGHBOUR_IMAGES], fake[: protocol.NEIGHBOUR_IMAGES])
    results = {
        name_frechet(space): distances.frechet_distance(distances.fit_gaussian(real), distances.fit_gaussian(fake)),
        name_kernel(space): kernel,
        f"{name_kernel(space)}_subset_std": spread,
        **{f"{name}_{space}": value.item() for name, value in neighbourhoods.items()},
    }
    if classifier is not None and len(fake) >= GROUPS:
        logits = torch.cat([rows.double() @ classifier.double().T for rows in distances.split_rows(fake)])  # (M, classes)
        results[f"inception_score_{space}"], _ = distances.inception_score(logits)
    return results


def estimate_intervals(real: Tensor, fake: Tensor, space: str) -> dict[str, float]:
    """Returns, for each score, the half width of the interval that contains the score of another seed with 95% probability."""
    kept = torch.arange(len(fake), device=fake.device) % GROUPS != torch.arange(GROUPS, device=fake.device)[:, None]  # (GROUPS, M)
    few_real, few_fake = real[: protocol.NEIGHBOUR_IMAGES], fake[: protocol.NEIGHBOUR_IMAGES]
    few_kept = kept[:, : protocol.NEIGHBOUR_IMAGES]
    gaussian = distances.fit_gaussian(real)
    frechet = [distances.frechet_distance(gaussian, distances.fit_gaussian(fake[part])) for part in kept]
    parts = {
        name_frechet(space): torch.tensor(frechet, dtype=torch.float64),
        name_kernel(space): distances.kernel_distances(few_real, few_fake, few_kept),
        **{f"{name}_{space}": values for name, values in compare_neighbourhoods(few_real, few_fake, few_kept).items()},
    }
    return {name: jackknife(values) for name, values in parts.items()}


def jackknife(values: Tensor) -> float:
    """Returns the interval's half width from the scores (GROUPS,) with each group left out in turn.

    Both seeds' scores vary, so their difference has twice the variance of one score.
    """
    values = values.double()
    variance = (GROUPS - 1) / GROUPS * (values - values.mean()).square().sum().item()
    return STUDENT_975 * math.sqrt(2 * variance)
