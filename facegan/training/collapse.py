"""Looks at the rows of losses.csv as they come, and says when a training has collapsed.

Two signs, each of which must last: the discriminator is saturated (it tells every real image from every generated one with
such certainty that the generator learns nothing any more), or the samples' diversity is gone (the generator draws one
picture). A bad stretch is no collapse: the DCGAN of the tutorials saturates in its first epoch and comes back. Single rows
jump up and down, so the signs are read from a running mean. The thresholds were chosen on recorded runs of both kinds;
docs/training.md shows them, and tests/training/recorded_runs holds them.
"""

import dataclasses
import math

SATURATED_MARGIN = 10.0  # real logit - fake logit: D(x) and 1 - D(G(z)) both about 0.993, or one far beyond
LOST_DIVERSITY = 0.1  # of the real images' own
LASTING_IMAGES = 25_000
LASTING_STEPS = 200  # whichever is more: with large batches a bad stretch takes more images, not more steps
MEAN_HALFLIFE_IMAGES = 1_000
REMEDIES = (
    "train.lr halved, model.discriminator_norm: spectral, train.penalty: r1 with train.gamma: 1, or train.augment: color,translation,cutout"
)


def empty_memory() -> dict[str, float]:
    """Returns the memory of a detector that has seen no row."""
    return {"images_seen": 0.0, "margin": math.nan, "diversity": math.nan, "saturated_since": math.nan, "uniform_since": math.nan}


@dataclasses.dataclass
class CollapseDetector:
    """Remembers how things have gone of late, and since when a bad sign lasts.

    Attributes:
        bounded: whether the objective's logits mean log odds; Wasserstein's and hinge's margins say nothing of certainty.
        batch: real images a step.
        memory: the images seen at the last row, both running means, and the images seen when each sign began, NaN where it is absent.
    """

    bounded: bool
    batch: int
    memory: dict[str, float] = dataclasses.field(default_factory=empty_memory)

    @property
    def patience_images(self) -> int:
        """For how many images a sign must last before it is told."""
        return max(LASTING_IMAGES, LASTING_STEPS * self.batch)

    def observe(self, row: dict[str, float]) -> str | None:
        """Takes in the next row of losses.csv. Returns what is wrong, once a sign has lasted ``patience_images``."""
        memory, before, now, patience = self.memory, self.memory["images_seen"], row["images_seen"], self.patience_images
        kept = 0.5 ** ((now - before) / MEAN_HALFLIFE_IMAGES)
        for name, value in (("margin", row["real_logit"] - row["fake_logit"]), ("diversity", row["diversity"])):
            memory[name] = value if math.isnan(memory[name]) else value + kept * (memory[name] - value)
        memory["images_seen"] = now

        signs = {"saturated": self.bounded and memory["margin"] > SATURATED_MARGIN, "uniform": memory["diversity"] < LOST_DIVERSITY}
        for sign, present in signs.items():
            if not present:
                memory[f"{sign}_since"] = math.nan
            elif math.isnan(memory[f"{sign}_since"]):
                memory[f"{sign}_since"] = before  # the row tells of all images since the last one
        if now - memory["saturated_since"] >= patience:
            return f"collapse: the discriminator has been saturated for {patience:,} images (logits {memory['margin']:.1f} apart); try {REMEDIES}"
        if now - memory["uniform_since"] >= patience:
            return f"collapse: generated images have been alike for {patience:,} images (diversity {memory['diversity']:.2f} of the real); try {REMEDIES}"
        return None
