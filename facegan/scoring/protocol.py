"""The conditions under which a score was computed.

Input: facts about the images, the generator and the extractor. Output: a frozen record and its short fingerprint. Two scores are
comparable only if their fingerprints are equal, or differ in the seed alone.
"""

import dataclasses
import hashlib
import json
from typing import Annotated, Any

from annotated_types import Ge, Le

from facegan.common.files import PrintableText
from facegan.common.shards import Crop
from facegan.scoring import structure

ROUNDING = "(x + 1) * 127.5, rounded to nearest, clipped, uint8"
KERNEL_SUBSETS = 100
KERNEL_SUBSET_IMAGES = 1000
NEIGHBOUR_IMAGES = 5_000  # precision, recall, density and coverage compare all pairs of images, ten times for the intervals


@dataclasses.dataclass(frozen=True)
class RealProtocol:
    """The real images and the extractor.

    Attributes:
        data: the fingerprint of the shards.
        resolution, crop, filter: how photos were preprocessed.
        split: "train": the real images are training images.
        real: number of real images.
        extractor: the name of the feature space.
        weights_sha256: the hash of the extractor's weights.
        resize: how the extractor resizes images to its input size.
        structure: the structure space. Protocols without this field are older; their scores have no structure space.
    """

    data: PrintableText
    resolution: Annotated[int, Ge(1), Le(1024)]  # checked when it is read from a file
    crop: Crop
    filter: PrintableText
    split: PrintableText
    real: int
    extractor: PrintableText
    weights_sha256: PrintableText
    resize: PrintableText
    structure: PrintableText = f"{structure.NAME}, {structure.COMPONENTS} components"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureProtocol(RealProtocol):
    """Everything that determines the score of a set of images, except the images themselves.

    Attributes:
        generated: number of images scored.
        kernel_subsets, kernel_subset_images: the kernel distance is averaged over this many subsets of this size.
        neighbour_images: maximum number of images per side for precision, recall, density and coverage.
    """

    generated: int
    kernel_subsets: int = KERNEL_SUBSETS
    kernel_subset_images: int = KERNEL_SUBSET_IMAGES
    neighbour_images: int = NEIGHBOUR_IMAGES

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits: a hash of all fields."""
        return hashlib.sha256(json.dumps(self._fields(), sort_keys=True).encode()).hexdigest()[:12]

    def as_plain(self) -> dict[str, Any]:
        """Returns the fingerprint and the fields, as values that JSON can hold; ``labels`` only if there are any."""
        return {"fingerprint": self.fingerprint, **self._fields()}

    def _fields(self) -> dict[str, Any]:
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "labels" or value}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol(PictureProtocol):
    """Everything that determines the score of a generator, except the generator itself.

    Attributes:
        seed: of the latents.
        truncation: of the latents; 1 is none.
        averaged: whether the weights are the moving average (EMA), which generator.safetensors holds.
        rounding: how the generator's output is converted to uint8.
        labels: how the label accuracy is measured; empty without labels.
    """

    seed: int
    truncation: float = 1.0
    averaged: bool = True
    rounding: str = ROUNDING
    labels: str = ""
