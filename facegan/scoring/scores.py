"""Named scores of generated features against real ones, and their uncertainty.

Input: features of real images and of generated ones, in one space or in both. Output: a dictionary of numbers.

The uncertainty is a delete-a-group jackknife (Efron and Tibshirani 1993, chapter 11): the generated images are divided into ten groups,
and each group is left out once. Unlike the bootstrap it repeats no image; repeats would make a generator look less diverse than it is.
"""

import dataclasses
import math
from collections.abc import Iterable

import torch
from torch import Tensor

from facegan.scoring import distances, protocol, structure
from facegan.scoring.extractors import Extractor, extract, name_frechet, name_kernel
from facegan.scoring.neighbourhoods import compare_neighbourhoods

GROUPS = 10
STUDENT_975 = 2.262  # of the t distribution with GROUPS - 1 degrees of freedom


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of the same images in both spaces: of the extractor (N, D), and of the structure space (N, K)."""

    network: Tensor
    structure: Tensor


def extract_features(extractor: Extractor, components: Tensor, batches: Iterable[Tensor], title: str = "", count: int = 0) -> Features:
    """Returns the features of a stream of uint8 batches (B, 3, H, W) in both spaces.

    Args:
        components: (K, D), from ``structure.fit_components``.
        title, count: see ``extract``.
    """
    network, averages = extract_with_averages(extractor, batches, title, count)
    return Features(network, structure.project(averages, components))


def extract_with_averages(extractor: Extractor, batches: Iterable[Tensor], title: str = "", count: int = 0) -> tuple[Tensor, Tensor]:
    """Returns the extractor's features (N, D) of a stream of uint8 batches, and their averages for the structure space."""
    averages: list[Tensor] = []
    network = extract(extractor, structure.watch_averages(batches, averages), title, count)
    return network, torch.cat(averages).to(extractor.device)


def compare_all(real: Features, fake: Features, extractor: Extractor) -> dict[str, float]:
    """Returns every score in both spaces, by name."""
    scores = compare(real.network, fake.network, extractor.space, extractor.classifier)
    return scores | compare(real.structure, fake.structure, structure.NAME)


def estimate_all_intervals(real: Features, fake: Features, extractor: Extractor) -> dict[str, float]:
    """Returns the half width of the interval for each score, in both spaces; see ``estimate_intervals``."""
    widths = estimate_intervals(real.network, fake.network, extractor.space)
    return widths | estimate_intervals(real.structure, fake.structure, structure.NAME)


def compare(real: Tensor, fake: Tensor, space: str, classifier: Tensor | None = None) -> dict[str, float]:
    """Returns every score of fake features (M, D) against real ones (N, D), by name.

    Args:
        space: the name of the feature space, which is part of the scores' names.
        classifier: (classes, D), for the Inception score, which uses no real images.
    """
    neighbourhoods = compare_neighbourhoods(real[: protocol.NEIGHBOUR_IMAGES], fake[: protocol.NEIGHBOUR_IMAGES])
    results = {
        name_frechet(space): distances.frechet_distance(distances.fit_gaussian(real), distances.fit_gaussian(fake)),
        **{f"{name}_{space}": value.item() for name, value in neighbourhoods.items()},
    }
    if has_kernel(space):
        size = min(protocol.KERNEL_SUBSET_IMAGES, min(len(real), len(fake)) // 2)
        kernel, spread = distances.kernel_distance_over_subsets(fake, real, protocol.KERNEL_SUBSETS, size, seed=2020)
        results |= {name_kernel(space): kernel, f"{name_kernel(space)}_subset_std": spread}
    if classifier is not None and len(fake) >= GROUPS:
        logits = torch.cat([rows.double() @ classifier.double().T for rows in distances.split_rows(fake)])  # (M, classes)
        results[f"inception_score_{space}"], _ = distances.inception_score(logits)
    return results


def has_kernel(space: str) -> bool:
    """Returns whether the kernel distance is computed: its kernel was chosen for the features of networks."""
    return space != structure.NAME


def estimate_intervals(real: Tensor, fake: Tensor, space: str) -> dict[str, float]:
    """Returns, for each score, the half width of the interval that contains the score of another seed with 95% probability."""
    kept = leave_out_groups(len(fake)).to(fake.device)
    few_real, few_fake = real[: protocol.NEIGHBOUR_IMAGES], fake[: protocol.NEIGHBOUR_IMAGES]
    few_kept = kept[:, : protocol.NEIGHBOUR_IMAGES]
    parts = {
        name_frechet(space): leave_out_of_frechet(distances.fit_gaussian(real), fake),
        **{f"{name}_{space}": values for name, values in compare_neighbourhoods(few_real, few_fake, few_kept).items()},
    }
    if has_kernel(space):
        parts[name_kernel(space)] = distances.kernel_distances(few_real, few_fake, few_kept)
    return {name: jackknife(values) for name, values in parts.items()}


def leave_out_groups(count: int) -> Tensor:
    """Returns which of ``count`` images are kept when each group is left out, bool (GROUPS, count)."""
    return torch.arange(count) % GROUPS != torch.arange(GROUPS)[:, None]


def leave_out_of_frechet(real: distances.Gaussian, fake: Tensor) -> Tensor:
    """Returns the Fréchet distances (GROUPS,) of fake features (M, D) with each group left out."""
    fits = (distances.fit_gaussian(fake[part]) for part in leave_out_groups(len(fake)).to(fake.device))
    return torch.tensor([distances.frechet_distance(real, fit) for fit in fits], dtype=torch.float64)


def jackknife(values: Tensor) -> float:
    """Returns the interval's half width from the scores (GROUPS,) with each group left out in turn.

    Both seeds' scores vary, so their difference has twice the variance of one score.
    """
    values = values.double()
    variance = (GROUPS - 1) / GROUPS * (values - values.mean()).square().sum().item()
    return STUDENT_975 * math.sqrt(2 * variance)
