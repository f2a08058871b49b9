"""Label accuracy: do generated faces show their labels?

Input: features and labels of generated images, and of real ones. Output: a part of the report.

For each column, a logistic regression (scikit-learn) is fitted on training images, on their features in both spaces together, and applied
to generated images, and to held-out ones for comparison: the ceiling. Generated images are first shifted and scaled, feature by feature,
to the mean and standard deviation of training images with the same mixture of values: what they all have in common, such as blur, is
measured by the distances. The accuracy in a column is balanced: for each value, the share of the images with this value that the
classifier recognises, averaged over the values. A rare value counts as much as a frequent one, and guessing gets 1 / (number of values).
The label accuracy is the mean over the columns.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facegan.common.labels import MOST_VALUES, Column
from facegan.common.shards import Split, read_index, read_labels
from facegan.scoring.distances import kernel_distance
from facegan.scoring.extractors import name_kernel
from facegan.scoring.parameters import FEWEST_IMAGES
from facegan.scoring.reference import Reference
from facegan.scoring.scores import Features

LABEL_ACCURACY = "label_accuracy"
MOST_IMAGES = 10_000  # to fit a classifier: more takes minutes
INVERSE_PENALTY = 0.01  # C; of 0.0001 to 1 the best for 2,000 avatars, and within 0.02 of the best for 4,000 CelebA faces
METHOD = f"logistic regression, C = {INVERSE_PENALTY}, on both spaces, generated images aligned; balanced accuracy"


def measure_label_accuracy(
    fake: Features, labels: Tensor, columns: Sequence[Column], reference: Reference, shards: Path
) -> dict[str, Any] | None:
    """Returns the accuracies, and for each label also the kernel distance between generated and real images that have it.

    The keys are "generated", "real", "guessing", "margin" (half the width of the 95% interval for another seed), "fitted_on" (images) and
    "columns".

    Without held-out images there is no ceiling. Values without any generated or held-out image are left out.

    Args:
        fake, labels: of the generated images: features (M, D), and the positions of their values (M, columns).
        columns: the generator's. Those that the shards do not have, with the same values, are left out; None if that leaves none.
    """
    known = {column.name: (place, column.values) for place, column in enumerate(read_index(shards).labels)}
    train = Features(reference.train[:MOST_IMAGES], reference.train_structure[:MOST_IMAGES])
    train_labels = take_labels(shards, "train", reference.train_rows[:MOST_IMAGES])
    holdout_labels = take_labels(shards, "holdout", reference.holdout_rows)
    joined = [join(part) for part in (train, fake, Features(reference.holdout, reference.holdout_structure))]
    results, residuals = {}, []
    for number, column in enumerate(columns):
        place, values = known.get(column.name, (0, ()))
        if values != column.values or len(train_labels[:, place].unique()) < 2:
            continue
        parts = [part.cpu().numpy() for part in (train_labels[:, place], labels[:, number], holdout_labels[:, place])]
        hits, real_hits = classify(joined, parts)
        shown = {value: [part == position for part in parts] for position, value in enumerate(values)}
        entries, residual = {}, np.zeros(len(labels))
        for value, (taught, generated, held_out) in shown.items():
            if generated.any() and (held_out.any() or not len(held_out)):
                entry = {"images": int(generated.sum()), "generated": float(hits[generated].mean())}
                if len(held_out):
                    entry["real"] = float(real_hits[held_out].mean())
                if min(generated.sum(), taught.sum()) >= FEWEST_IMAGES:
                    rows = (torch.from_numpy(mask).to(fake.network.device) for mask in (generated, taught))
                    entry[name_kernel(reference.protocol.extractor)] = kernel_distance(fake.network[next(rows)], train.network[next(rows)])
                residual[generated] = (hits[generated] - entry["generated"]) / entry["images"]
                entries[value] = entry
        if entries:
            results[column.name] = {**average(entries), "guessing": 1 / len(values), "values": entries}
            residuals.append(residual / len(entries))
    if not results:
        return None
    width = 1.96 * math.sqrt(2 * np.square(np.mean(residuals, axis=0)).sum())  # both seeds vary
    return {**average(results), "margin": width, "fitted_on": len(train_labels), "columns": results}


def take_labels(shards: Path, split: Split, rows: Tensor) -> Tensor:
    """Returns the labels (N, columns) of some images of a split."""
    parts = read_labels(shards, split)
    return torch.cat(parts)[rows.cpu()] if parts else torch.zeros(0, len(read_index(shards).labels))


def join(features: Features) -> np.ndarray:
    """Returns the features (N, D + K) in both spaces."""
    return torch.cat([features.network, features.structure], 1).double().cpu().numpy()


def classify(features: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns whether the value of each generated and of each held-out image is recognised, by a classifier fitted on training images.

    Args:
        features: of training, generated and held-out images, (N, D) each.
        values: the position of each image's value, (N,) each.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, generated, held_out = features
    classifier = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000)
    fitted = make_pipeline(StandardScaler(), classifier).fit(train, values[0])
    parts = zip((align(generated, values[1], train, values[0]), held_out), values[1:], strict=True)
    return [fitted.predict(part) == expected if len(part) else np.zeros(0, bool) for part, expected in parts]


def align(generated: np.ndarray, values: np.ndarray, train: np.ndarray, train_values: np.ndarray) -> np.ndarray:
    """Returns the features (N, D) of generated images with the mean and standard deviation that training images have.

    Training images are weighted to have the same mixture of values: only its counts are used, since a mean over the images of one value
    would contain what is to be recognised.
    """
    from sklearn.preprocessing import StandardScaler

    share, train_share = (np.bincount(part, minlength=MOST_VALUES) / len(part) for part in (values, train_values))
    weights = (share / train_share.clip(1e-12))[train_values]
    if not weights.any():  # no training image has any of these values
        return generated
    target = StandardScaler().fit(train, sample_weight=weights)
    return target.inverse_transform(StandardScaler().fit_transform(generated))


def average(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Returns the mean accuracies of generated and, if there are held-out ones, of real images."""
    keys: Iterable[str] = ("generated", "real", "guessing")
    return {
        key: float(np.mean([entry[key] for entry in entries.values()])) for key in keys if all(key in entry for entry in entries.values())
    }
