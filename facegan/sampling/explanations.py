"""The meaning of each score in plain words, for the report.

Input: a report of the stage ``evaluate``. Output: one reading per score, with its position between an untrained generator and real images.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of score, in any feature space or in the structure space. A score's name begins with one of the prefixes.

    Attributes:
        is_main: whether it is one of the two distances that runs are compared by.
    """

    prefixes: tuple[str, ...]
    title: str
    better: Literal["lower", "higher"]
    meaning: str
    is_main: bool = False


FRECHET = (
    "How far the generated images as a set are from the real ones, by the features of a network. It reacts mostly to sharpness and "
    "texture, and little to misplaced parts of a face. The best possible value is that of real images compared with other real images."
)
STRUCTURE = (
    "How far the generated images as a set are from the real ones after averaging to 16 × 16 pixels: are the parts of the faces in their "
    "places, are the colours right, and is there as much variety? It does not see sharpness or texture. The best possible value is that of "
    "real images compared with other real images."
)
PRECISION_STRUCTURE = "The share of generated images whose coarse structure is similar to that of real images: are they well-built faces?"
RECALL_STRUCTURE = (
    "The share of real images whose coarse structure is similar to that of generated images: which kinds of faces are covered?"
)
KERNEL = "Measures the same in another way, without the bias of small samples: 0 means that the two sets cannot be distinguished."
PRECISION = "The share of generated images that are similar to real images: do the faces look real? From 0 to 1."
RECALL = "The share of real images that are similar to generated images: does the generator produce every kind of face? From 0 to 1."
DENSITY = "Like precision, but less affected by outliers: how many real images are similar to a generated one. About 1 for real images."
COVERAGE = "Like recall, but less affected by outliers: the share of real images with a generated image as a near neighbour. From 0 to 1."
INCEPTION = "How confident and varied a classifier's predictions for the generated images are. It ignores real images; prefer other scores."
LABELS = (
    "Do generated faces show their labels? A classifier, trained on real images, recognises them in this share; rare values count as much "
    "as frequent ones. For real images it is the share that the same classifier recognises, and before training what guessing gets."
)
KINDS = (
    Kind(("fd_pixels16",), "Structure and variety", "lower", STRUCTURE, is_main=True),
    Kind(("precision_pixels16",), "Share that looks real, in structure", "higher", PRECISION_STRUCTURE),
    Kind(("recall_pixels16",), "Share of the real variety, in structure", "higher", RECALL_STRUCTURE),
    Kind(("fid", "fd"), "Sharpness and texture", "lower", FRECHET, is_main=True),
    Kind(("kid", "kd"), "Kernel distance", "lower", KERNEL),
    Kind(("precision",), "Precision", "higher", PRECISION),
    Kind(("recall",), "Recall", "higher", RECALL),
    Kind(("density",), "Density", "higher", DENSITY),
    Kind(("coverage",), "Coverage", "higher", COVERAGE),
    Kind(("label_accuracy",), "Labels that are shown", "higher", LABELS),
    Kind(("inception_score",), "Inception score", "higher", INCEPTION),
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """One score and how to read it.

    Attributes:
        name: as in metrics/evaluate.json.
        kind: None for an unknown score.
        value: of the generated images.
        margin: half the width of the 95% interval for images from another seed.
        floor: the value for real images.
        untrained: the value for the same model before training.
    """

    name: str
    kind: Kind | None
    value: float
    margin: float | None
    floor: float | None
    untrained: float | None

    @property
    def scale(self) -> tuple[float, float] | None:
        """The values at the two ends of the scale, untrained and floor; None if one is missing or they are equal."""
        return None if self.floor is None or self.untrained is None or self.floor == self.untrained else (self.untrained, self.floor)

    def position(self, value: float) -> float:
        """Returns where a value is on the scale, in percent, within 0 (untrained) and 100 (real images)."""
        return min(100.0, max(0.0, self._unbounded(value)))

    @property
    def is_worse_than_untrained(self) -> bool:
        """Whether training moved the value away from that of real images."""
        return self.scale is not None and self._unbounded(self.value) < 0

    @property
    def span(self) -> tuple[float, float]:
        """The positions of the interval's two ends, the lower one first."""
        margin = self.margin or 0.0
        low, high = sorted((self.position(self.value - margin), self.position(self.value + margin)))
        return low, high

    def _unbounded(self, value: float) -> float:
        assert self.scale is not None
        untrained, floor = self.scale
        return 100 * (value - untrained) / (floor - untrained)


def read_scores(
    generated: Mapping[str, float], margins: Mapping[str, float], floor: Mapping[str, float], untrained: Mapping[str, float]
) -> list[Reading]:
    """Returns a reading for each score of the generated images, in the given order, without the spread over subsets."""
    return [
        Reading(name, find_kind(name), value, margins.get(name), floor.get(name), untrained.get(name))
        for name, value in generated.items()
        if not name.endswith("_subset_std")
    ]


def find_kind(name: str) -> Kind | None:
    """Returns the kind of a score such as ``fd_efficientnet_lite0``; None if it is unknown."""
    return next((kind for kind in KINDS if any(name == prefix or name.startswith(prefix + "_") for prefix in kind.prefixes)), None)
