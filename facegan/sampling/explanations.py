"""What each score means, in plain words for a page.

In: a report of the stage ``evaluate``. Out: one reading for each score, with its place between an untrained generator and real pictures.
"""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of score, whatever features it was taken in."""

    prefixes: tuple[str, ...]
    title: str
    meaning: str
    better: str


KINDS = (
    Kind(
        ("fid", "fd"),
        "Fréchet distance",
        "How far the generated pictures, all together, lie from the real ones: quality and variety in one number. The best there is to get "
        "is what real pictures get beside other real pictures.",
        "lower",
    ),
    Kind(
        ("kid", "kd"),
        "Kernel distance",
        "The same question asked another way, without the bias of small samples: 0 means that the two sets cannot be told apart.",
        "lower",
    ),
    Kind(
        ("precision",),
        "Precision",
        "The share of generated pictures that lie where real pictures lie: do the faces look real? From 0 to 1.",
        "higher",
    ),
    Kind(
        ("recall",),
        "Recall",
        "The share of real pictures that lie where generated pictures lie: does every kind of real face occur? From 0 to 1.",
        "higher",
    ),
    Kind(
        ("density",),
        "Density",
        "Like precision, and one odd picture matters less: how crowded with real pictures the places are in which generated ones lie. "
        "About 1 for real pictures.",
        "higher",
    ),
    Kind(
        ("coverage",),
        "Coverage",
        "Like recall, and one odd picture matters less: the share of real pictures that have a generated one as a near neighbour. From 0 to 1.",
        "higher",
    ),
    Kind(
        ("inception_score",),
        "Inception score",
        "How sure and how varied a classifier's answers about the generated pictures are. It never sees a real picture; prefer the others.",
        "higher",
    ),
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """One score and how to read it.

    Attributes:
        name: as in metrics/evaluate.json.
        kind: what it measures; None for a score that this page does not know.
        value: the generated pictures'.
        margin: another seed's pictures score within ± this, 95 times of 100.
        floor: what real pictures get.
        untrained: what the same model gets before training.
    """

    name: str
    kind: Kind | None
    value: float
    margin: float | None
    floor: float | None
    untrained: float | None

    @property
    def has_scale(self) -> bool:
        """Whether there are two different ends to place the score between."""
        return None not in (self.floor, self.untrained) and self.floor != self.untrained

    def place(self, value: float) -> float:
        """Returns where a value lies between the untrained model's (0) and the real pictures' (100)."""
        return min(100.0, max(0.0, 100 * (value - self.untrained) / (self.floor - self.untrained)))

    @property
    def is_worse_than_untrained(self) -> bool:
        """Whether the value lies beyond the untrained model's, on the side that leads away from real pictures."""
        return self.has_scale and (self.value - self.untrained) * (self.floor - self.untrained) < 0

    @property
    def span(self) -> tuple[float, float]:
        """The places of the margin's two ends, the lower one first."""
        margin = self.margin or 0.0
        low, high = sorted((self.place(self.value - margin), self.place(self.value + margin)))
        return low, high


def read_scores(
    generated: Mapping[str, float], margins: Mapping[str, float], floor: Mapping[str, float], untrained: Mapping[str, float]
) -> list[Reading]:
    """Returns a reading for each score of the generated pictures, in the order given. A spread over subsets is no score."""
    return [
        Reading(name, find_kind(name), value, margins.get(name), floor.get(name), untrained.get(name))
        for name, value in generated.items()
        if not name.endswith("_subset_std")
    ]


def find_kind(name: str) -> Kind | None:
    """Returns what kind of score a name such as ``fd_efficientnet_lite0`` stands for; None for an unknown one."""
    return next((kind for kind in KINDS if any(name == prefix or name.startswith(prefix + "_") for prefix in kind.prefixes)), None)
