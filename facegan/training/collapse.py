"""Detects a collapsed training from the rows of losses.csv.

There are two signs, each of which must last: a saturated discriminator (it separates real from generated images with such certainty that
the generator no longer learns), or lost diversity (the generator generates one image). A bad phase is not a collapse: the tutorials'
DCGAN saturates in its first epoch and recovers. Single rows fluctuate, so the signs are read from a running mean. The thresholds were
chosen on recorded runs of both kinds; docs/measurements/training.md shows them, and tests/training/recorded_runs contains them.
"""

import dataclasses
import math

SATURATED_MARGIN = 10.0  # real logit - fake logit: D(x) and 1 - D(G(z)) are both about 0.993, or one is far above
LOST_DIVERSITY = 0.1  # relative to the real images' diversity
LASTING_IMAGES = 25_000
LASTING_STEPS = 200  # whichever is more: with large batches a bad phase takes more images, not more steps
MEAN_HALFLIFE_IMAGES = 1_000
REMEDIES = (
    "train.lr halved, model.discriminator_norm: spectral, train.penalty: r1 with train.gamma: 1, or train.augment: color,translation,cutout"
)


def empty_memory() -> dict[str, float]:
    """Returns the memory of a new detector."""
    return {"images_seen": 0.0, "margin": math.nan, "diversity": math.nan, "saturated_since": math.nan, "uniform_since": math.nan}


@dataclasses.dataclass
class CollapseDetector:
    """Watches the running means of margin and diversity.

    Attributes:
        bounded: whether the objective's logits are log odds; margins of Wasserstein and hinge losses do not measure certainty.
        batch: real images per step.
        memory: the images seen at the last row, both running means, and the images seen when each sign began (NaN: it is absent).
    """

    bounded: bool
    batch: int
    memory: dict[str, float] = dataclasses.field(default_factory=empty_memory)

    @property
    def patience_images(self) -> int:
        """For how many images a sign must last to be reported."""
        return max(LASTING_IMAGES, LASTING_STEPS * self.batch)

    def observe(self, row: dict[str, float]) -> str | None:
        """Adds the next row of losses.csv. Returns a message once a sign has lasted ``patience_images``, else None."""
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
                memory[f"{sign}_since"] = before  # the row covers all images since the last one
        if now - memory["saturated_since"] >= patience:
            return (
                f"collapse: the discriminator has been saturated for {patience:,} images (real and fake logits differ by "
                f"{memory['margin']:.1f}); try {REMEDIES}"
            )
        if now - memory["uniform_since"] >= patience:
            return (
                f"collapse: generated images have looked alike for {patience:,} images (diversity {memory['diversity']:.2f} of that of "
                f"real images); try {REMEDIES}"
            )
        return None
