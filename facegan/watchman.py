"""Looks at the rows of losses.csv as they come, and says when a training has collapsed.

A row is a mean over some hundred to ten thousand images. Two signs, each of which must last: the discriminator is saturated
(it tells every real image from every generated one with such certainty that the generator learns nothing any more), or the
samples' diversity is gone (the generator draws one picture). A bad stretch is no collapse: many a run saturates in its first
epoch and comes back. The thresholds were chosen on recorded runs of both kinds; docs/training.md shows them.
"""

import dataclasses
import math

SATURATED_MARGIN = 10.0  # real logit - fake logit: D(x) and 1 - D(G(z)) both about 0.993, or one far beyond
LOST_DIVERSITY = 0.1  # of the real images' own
LASTING_IMAGES = 25_000
REMEDIES = "train.lr halved, model.discriminator_norm: spectral, train.penalty: r1 with train.gamma: 1, or train.augment: color,translation,cutout"


@dataclasses.dataclass
class Watchman:
    """Remembers since when a bad sign lasts.

    Attributes:
        bounded: whether the objective's logits mean log odds; Wasserstein's and hinge's margins say nothing of certainty.
        since: for each sign, the images seen when it began; NaN while it is absent.
    """

    bounded: bool
    since: dict[str, float] = dataclasses.field(default_factory=lambda: {"saturated": math.nan, "uniform": math.nan})

    def observe(self, row: dict[str, float]) -> str | None:
        """Takes in the next row of losses.csv. Returns what is wrong, once a sign has lasted ``LASTING_IMAGES``."""
        margin = row["real_logit"] - row["fake_logit"]
        signs = {"saturated": self.bounded and margin > SATURATED_MARGIN, "uniform": row["diversity"] < LOST_DIVERSITY}
        for name, present in signs.items():
            if not present:
                self.since[name] = math.nan
            elif math.isnan(self.since[name]):
                self.since[name] = row["images_seen"]
        lasting = [name for name, began in self.since.items() if row["images_seen"] - began >= LASTING_IMAGES]
        if "saturated" in lasting:
            return f"collapse: the discriminator has been saturated for {LASTING_IMAGES:,} images (logits {margin:.1f} apart); try {REMEDIES}"
        if "uniform" in lasting:
            return f"collapse: generated images have been alike for {LASTING_IMAGES:,} images (diversity {row['diversity']:.2f} of the real); try {REMEDIES}"
        return None
