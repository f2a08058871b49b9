"""The section ``evaluate`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le

from facegan.common.config import Section, Seed, WholeNumber, find_path_problems

FEWEST_IMAGES = 20  # with fewer, neighbours and covariances are meaningless
Inception = Literal["inception", "inception_pytorch", "inception_clean"]
Transformer = Literal["dinov2_vits14", "dinov2_vitb14", "dinov2_vitl14", "clip_vitb32", "clip_vitb16", "clip_vitl14"]
ExtractorName = Literal[Inception, "efficientnet_lite0", Transformer]


class EvaluateParameters(Section):
    """How a generator is scored.

    Attributes:
        extractor: the feature space; see ``facegan.scoring.extractors.EXTRACTORS``.
        weights: a local file with the extractor's weights; null: the published weights.
        images: number of generated images, and of real images; scores with different numbers are not comparable.
        memorisation_images: number of training images in the nearest-neighbour search; null: all.
        seed: random seed of the generated images.
    """

    extractor: ExtractorName
    weights: str | None
    images: Annotated[WholeNumber, Ge(FEWEST_IMAGES), Le(1_000_000)]
    memorisation_images: Annotated[WholeNumber, Ge(FEWEST_IMAGES), Le(1_000_000_000)] | None
    seed: Seed

    def problems(self) -> Iterator[str]:
        """Yields a problem if ``weights`` is not a valid path."""
        yield from find_path_problems("weights", self.weights)
