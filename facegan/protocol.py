"""Under what conditions a score was taken, and what it may therefore be called.

In: what is known of the real images, the extractor and the generated images. Out: a frozen record, its short fingerprint, and
the scores' names. Two scores may be compared only when their fingerprints agree (or differ in the seed alone).
"""

import dataclasses
import hashlib
import json
from typing import Any

ROUNDING = "(x + 1) * 127.5, rounded to nearest, clipped, uint8"
KERNEL_SUBSETS = 100
KERNEL_SUBSET_IMAGES = 1000
NEIGHBOUR_IMAGES = 10_000  # precision, recall, density and coverage need every pair's distance

FRECHET_NAMES = {"inception": "fid", "inception_pytorch": "fid_pytorch", "inception_clean": "fid_clean"}
KERNEL_NAMES = {"inception": "kid", "inception_pytorch": "kid_pytorch", "inception_clean": "kid_clean"}


@dataclasses.dataclass(frozen=True)
class RealProtocol:
    """Which real images were looked at, and through which eyes.

    Attributes:
        data: the fingerprint of the shards.
        resolution, crop, filter: how photos became images; see preprocess.
        split: "train" or "holdout", which the real images were drawn from.
        real: how many of them.
        extractor: the feature space's name.
        weights_sha256: the hash of the extractor's weights.
        resize: how the extractor brings images to its own size.
    """

    data: str
    resolution: int
    crop: Any
    filter: str
    split: str
    real: int
    extractor: str
    weights_sha256: str
    resize: str


@dataclasses.dataclass(frozen=True)
class Protocol(RealProtocol):
    """The whole of what a score depends on but the generator itself.

    Attributes:
        generated: how many images the generator made.
        seed: of their latents.
        averaged: whether the weights are the moving average (EMA) of the training's.
        truncation: 1.0 is none.
        rounding: how a generator's output became uint8.
        kernel_subsets, kernel_subset_images: over which the kernel distance is averaged.
        neighbour_images: at most so many images on each side of precision, recall, density and coverage.
    """

    generated: int
    seed: int
    averaged: bool = True
    truncation: float = 1.0
    rounding: str = ROUNDING
    kernel_subsets: int = KERNEL_SUBSETS
    kernel_subset_images: int = KERNEL_SUBSET_IMAGES
    neighbour_images: int = NEIGHBOUR_IMAGES

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ when anything above does."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:12]


def name_frechet(space: str) -> str:
    """Returns what the Fréchet distance over that feature space is called: ``fid`` over the published Inception alone."""
    return FRECHET_NAMES.get(space, f"fd_{space}")


def name_kernel(space: str) -> str:
    """Returns what the kernel distance over that feature space is called: ``kid`` over the published Inception alone."""
    return KERNEL_NAMES.get(space, f"kd_{space}")
