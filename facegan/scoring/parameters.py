"""The section ``evaluate`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le

from facegan.common.config import Section, Seed, WholeNumber, find_path_problems

FEWEST_IMAGES = 20  # below this, neighbours and covariances mean nothing
ExtractorName = Literal[
    "inception",
    "inception_pytorch",
    "inception_clean",
    "efficientnet_lite0",
    "dinov2_vits14",
    "dinov2_vitb14",
    "dinov2_vitl14",
    "clip_vitb32",
    "clip_vitb16",
    "clip_vitl14",
]


class EvaluateParameters(Section):
    """How a generator is scored.

    Attributes:
        extractor: the feature space; see ``facegan.scoring.extractors.EXTRACTORS``.
        weights: a local file of the extractor's weights; null: the published ones.
        images: how many generated images, and how many real ones.
        memorisation_images: training images among which neighbours are sought; null: all.
        seed: of the generated images.
    """

    extractor: ExtractorName
    weights: str | None
    images: Annotated[WholeNumber, Ge(FEWEST_IMAGES), Le(1_000_000)]
    memorisation_images: Annotated[WholeNumber, Ge(FEWEST_IMAGES)] | None
    seed: Seed

    def problems(self) -> Iterator[str]:
        """Yields weights that can be no file's path."""
        yield from find_path_problems("weights", self.weights)
