"""Advice that the stage prints: whether there are enough images, of each label too, and whether faces were found and are large enough."""

import statistics
from collections.abc import Sequence

from facegan.common.labels import Column

TOO_FEW, FEW, SOME = 50, 500, 2000  # training images
MORE = "After adding photos: dvc repro --force --single-item download && dvc repro"
MANY = 0.5  # share of the sampled photos with a face, above which the set is assumed to consist of portraits
RARE_SHARE = 0.02  # of the training images
MOST_VALUES = 8  # listed for a column
LOW_SHARE = 0.6  # of the square's side, below which faces are small or off-centre


def advise_on_number(images: int) -> list[str]:
    """Returns a line with what to expect of this number of training images, or none if there are plenty."""
    if images < TOO_FEW:
        return [f"{images} images are too few for training: the generator will repeat them; start with a few hundred. {MORE}"]
    if images < FEW:
        return [
            f"{images} images are few: expect faces similar to your photos, and copies of them (the memorisation test in evaluate detects "
            f"these). Starting from a model trained on many faces helps (train.start_from). {MORE}"
        ]
    if images < SOME:
        return [f"{images:,} images are enough to train on, and more give better faces. {MORE}"]
    return []


def advise_on_square(photos: int, shares: list[float]) -> list[str]:
    """Returns a line with the size of the faces, and a suggestion if they are small, or none if most photos have no face.

    Args:
        photos: number of sampled photos.
        shares: the face's size as a share of the square's side, for each of those photos with a face.
    """
    if len(shares) < MANY * photos:
        return []
    median = statistics.median(shares)
    line = f"the median face fills {median:.2f} of the square's side ({len(shares)} of {photos} sampled photos have a face)"
    return [line + ("; preprocess.crop: face would find, align and enlarge them" if median < LOW_SHARE else "")]


def advise_on_labels(columns: Sequence[Column]) -> list[str]:
    """Returns a line for each column: how many training images have each value, the most frequent first, and which are rare."""
    lines = []
    for column in columns:
        name, values, counts = column.name, column.values, column.counts
        shares = {value: count / max(1, sum(counts)) for value, count in zip(values, counts, strict=True)}
        order = ["1"] if values == ("0", "1") else sorted(values, key=lambda value: -shares[value])
        shown = ", ".join(f"{shares[value]:.1%}" if len(order) == 1 else f"{value} {shares[value]:.1%}" for value in order[:MOST_VALUES])
        others = f" and {len(order) - MOST_VALUES} others" if len(order) > MOST_VALUES else ""
        rare = [value for value in values if shares[value] < RARE_SHARE]
        warning = f"; below {RARE_SHARE:.0%} is too rare to learn well: {', '.join(rare[:MOST_VALUES])}" if rare else ""
        lines.append(f"{name}: {shown}{others} of {sum(counts):,} training images{warning}")
    return lines
