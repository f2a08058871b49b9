"""Under what conditions a score is taken.

In: what is known of the images, the generator and the extractor. Out: a frozen record and its
short fingerprint. Two scores may be compared only when their fingerprints agree (or differ in the seed alone).
"""

import dataclasses
import hashlib
import json

from facegan.common.shards import Crop

ROUNDING = "(x + 1) * 127.5, rounded to nearest, clipped, uint8"
KERNEL_SUBSETS = 100
KERNEL_SUBSET_IMAGES = 1000
NEIGHBOUR_IMAGES = 5_000  # precision, recall, density and coverage look at every pair of images, ten times for the intervals


@dataclasses.dataclass(frozen=True)
class RealProtocol:
    """Which real images were looked at, and by which extractor.

    Attributes:
        data: the fingerprint of the shards.
        resolution, crop, filter: how photos became images; see preprocess.
        split: "train": the training images, which the real ones were drawn from.
        real: how many of them.
        extractor: the feature space's name.
        weights_sha256: the hash of the extractor's weights.
        resize: how the extractor brings images to its own size.
    """

    data: str
    resolution: int
    crop: Crop
    filter: str
    split: str
    real: int
    extractor: str
    weights_sha256: str
    resize: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureProtocol(RealProtocol):
    """The whole of what a score of given pictures depends on but the pictures themselves.

    Attributes:
        generated: how many pictures were scored.
        kernel_subsets, kernel_subset_images: over which the kernel distance is averaged.
        neighbour_images: at most so many images on each side of precision, recall, density and coverage.
    """

    generated: int
    kernel_subsets: int = KERNEL_SUBSETS
    kernel_subset_images: int = KERNEL_SUBSET_IMAGES
    neighbour_images: int = NEIGHBOUR_IMAGES

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that differ when anything above does."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(PictureProtocol):
    """The whole of what a generator's score depends on but the generator itself.

    Attributes:
        seed: of the latents.
        truncation: of the latents: none.
        averaged: whether the weights are the moving average (EMA) of training's, as generator.safetensors holds them.
        rounding: how a generator's output became uint8.
    """

    seed: int
    truncation: float = 1.0
    averaged: bool = True
    rounding: str = ROUNDING
