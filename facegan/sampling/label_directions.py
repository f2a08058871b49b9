"""Directions of labels: how the latent changes while the generated face shows more of what a label says.

Shen et al. 2020, "Interpreting the latent space of GANs for semantic face editing" (InterFaceGAN): a classifier of real images scores
generated faces, and a linear model of the scores on the latents gives the direction. The training images need labels, the generator does
not. Columns that it was trained with are left out: its labels change them.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.common.shards import open_split, read_index, read_labels
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.sampling.codes import device_of, encode

IMAGES, FACES = 4_000, 1_000  # the first real images, to fit the classifiers; generated faces, to fit the directions
PIXELS = 16  # of the averaged images that the classifiers see
INVERSE_PENALTY = 0.01  # C of the logistic regression
RECOGNISED = 0.7  # the smallest balanced accuracy of a classifier on the second half of the images
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # of the linear model; the best on faces left out is used
EXPLAINED = 0.1  # the smallest share of a score's variance, in the second half of the faces, that a direction explains
MOST = 6


def find_label_directions(generator: GeneratorNetwork, shards: Path, render: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Returns at most ``MOST`` directions (latent_size,) by label, such as ``glasses=dark``, the most reliable of each column first.

    Each has the length of the codes' standard deviation along it. Labels that no direction explains are left out.

    Args:
        shards: the labelled images.
        render: codes (N, S, L) to uint8 images (N, 3, H, W).

    Raises:
        FaceganError: the images have no labels, or none that the generator was not trained with.
    """
    from sklearn.linear_model import RidgeCV

    known = {column.name for column in generator.labels.columns}
    columns = [(place, column) for place, column in enumerate(read_index(shards).labels) if column.name not in known]
    if not columns:
        raise FaceganError(f"expected labels in {shards} that the generator was not trained with; found none; set data.labels")
    images = torch.cat([*open_split(shards, "train")])[:IMAGES]
    labels = torch.cat([*read_labels(shards, "train")])[:IMAGES]
    codes = encode(generator, seeded_latents(generator, FACES, 0).to(device_of(generator)), 1.0)  # (N, S, L)
    faces, latents = average(render(codes)), codes[:, 0, : generator.latent_size].double().cpu()
    spread, half = latents - latents.mean(0), FACES // 2
    found = []
    for place, column in columns:
        of_column = []
        for value, scores in score_values(average(images), labels[:, place].numpy(), faces, column.values):
            wanted = scores - scores.mean()
            weights = torch.from_numpy(RidgeCV(PENALTIES).fit(spread[:half].numpy(), wanted[:half].numpy()).coef_)
            explained = float(1 - (wanted[half:] - spread[half:] @ weights).square().sum() / wanted[half:].square().sum())
            if explained > EXPLAINED:
                unit = functional.normalize(weights, dim=0)
                of_column.append((-explained, f"{column.name}={value}", (unit * (spread @ unit).std()).float()))
        found += [(rank, *entry) for rank, entry in enumerate(sorted(of_column, key=lambda entry: entry[0]))]
    found.sort(key=lambda entry: entry[:2])  # each column's best value first
    return {name: direction.to(codes.device) for _, _, name, direction in found[:MOST]}


def score_values(images: np.ndarray, labels: np.ndarray, faces: np.ndarray, values: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    """Yields each value that a classifier recognises, with its log odds (N,) of the faces; of two values, only the second."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import StandardScaler

    scaler, half = StandardScaler().fit(images), len(images) // 2
    images, faces = scaler.transform(images), scaler.transform(faces)

    for position in range(len(values))[-1 if len(values) == 2 else 0 :]:
        shown = labels == position
        if min(len(set(part)) for part in (shown[:half], shown[half:])) == 2:
            classifier = LogisticRegression(C=INVERSE_PENALTY, class_weight="balanced", max_iter=1000).fit(images[:half], shown[:half])
            if balanced_accuracy_score(shown[half:], classifier.predict(images[half:])) > RECOGNISED:
                yield values[position], torch.from_numpy(classifier.decision_function(faces))


def average(images: Tensor) -> np.ndarray:
    """Returns uint8 images (N, 3, H, W) as vectors (N, D) of their averages at a small size."""
    size = min(PIXELS, images.shape[-1])
    parts = [functional.adaptive_avg_pool2d(part.float().cpu(), size).flatten(1) for part in images.split(500)]
    return torch.cat(parts).double().numpy()
