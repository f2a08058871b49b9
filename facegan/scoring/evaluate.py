"""A generator's scores, with the protocol they were taken under.

In: a generator, the reference of the real images, and an extractor. Out: a dictionary for metrics/evaluate.json and a picture
sheet of nearest neighbours. Images are generated, looked at and forgotten batch by batch; none is written to disk.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.pictures import to_bytes
from facegan.common.progress import Progress
from facegan.models.latents import seeded_latents, truncate
from facegan.scoring.extractors import BATCH, Extractor, extract
from facegan.scoring.memorisation import draw_sheet, find_neighbours, measure_memorisation
from facegan.scoring.protocol import FEWEST_IMAGES, EvaluateParameters, Protocol
from facegan.scoring.reference import Reference, gather
from facegan.scoring.scores import compare, estimate_intervals

SHEET_ROWS = 8
SHEET_NEIGHBOURS = 4


def evaluate(
    generator: nn.Module, reference: Reference, extractor: Extractor, parameters: EvaluateParameters
) -> tuple[dict[str, Any], Tensor]:
    """Returns a report on ``parameters.images`` generated faces, and their features (images, D).

    The report holds the scores by name, how far another seed's may lie, the floor (real against other real images), the memorisation
    test and the protocol.

    Raises:
        FaceganError: a reference made with another extractor or other weights, or a generator that yields NaN.
    """
    check_extractor(reference, extractor)
    features = extract(extractor, generate(generator, parameters, extractor.device))
    space = extractor.space
    report: dict[str, Any] = compare(reference.real, features, space, extractor.classifier)
    report["another_seed_95"] = estimate_intervals(reference.real, features, space)
    report["floor"] = reference.floor
    if len(reference.holdout) >= FEWEST_IMAGES:
        report["memorisation"] = dataclasses.asdict(measure_memorisation(features, reference.holdout, reference.train, parameters.seed))
    protocol = Protocol(
        **dataclasses.asdict(reference.protocol), generated=parameters.images, seed=parameters.seed, truncation=parameters.truncation
    )
    report["protocol"] = {"fingerprint": protocol.fingerprint, **dataclasses.asdict(protocol)}
    return round_numbers(report), features


def round_numbers(value: Any) -> Any:
    """Returns the report with nine significant digits, so that the order in which several cores add up does not show."""
    if isinstance(value, dict):
        return {key: round_numbers(item) for key, item in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value


def check_extractor(reference: Reference, extractor: Extractor) -> None:
    """Raises FaceganError when the reference was not made with this extractor."""
    expected, found = reference.protocol.weights_sha256, extractor.weights_sha256
    if (reference.protocol.extractor, expected) != (extractor.space, found):
        raise FaceganError(
            f"expected real features from {extractor.space} ({found[:8]}); found {reference.protocol.extractor} ({expected[:8]}); "
            "run stages/reference.py again"
        )


@torch.inference_mode()
def generate(generator: nn.Module, parameters: EvaluateParameters, device: torch.device) -> Iterator[Tensor]:
    """Yields uint8 batches (B, 3, H, W) of generated images, telling how far it is: the same for the same seed."""
    latents = draw_scored_latents(generator, parameters)
    with Progress("generated images", len(latents), "images") as progress:
        for batch in latents.split(BATCH[device.type]):
            yield to_bytes(generator(batch.to(device)))
            progress.add(len(batch))


def draw_scored_latents(generator: nn.Module, parameters: EvaluateParameters) -> Tensor:
    """Returns the latents (images, latent_size) that the generator is scored on."""
    return truncate(generator, seeded_latents(generator, parameters.images, parameters.seed), parameters.truncation)


def draw_neighbours(generator: nn.Module, features: Tensor, reference: Reference, shards: Path, parameters: EvaluateParameters) -> np.ndarray:
    """Returns a sheet (H, W, 3) of the generated images that lie nearest to a training image, with their neighbours.

    Each row: the generated image, its nearest training images, its nearest held-out ones.

    Args:
        features: of the images that ``generate`` yields for this generator and these parameters.
    """
    rows = find_neighbours(features, reference.train, 1)[0].flatten().argsort(stable=True)[:SHEET_ROWS].cpu()
    latents = draw_scored_latents(generator, parameters)[rows]
    with torch.inference_mode():
        fakes = to_bytes(generator(latents.to(features.device))).cpu()

    def look_up(split: str, candidates: Tensor, order: Tensor) -> Tensor:
        found = find_neighbours(features[rows.to(features.device)], candidates, min(SHEET_NEIGHBOURS, len(candidates)))[1].cpu()
        return gather(shards, split, order.cpu()[found].flatten()).unflatten(0, found.shape)  # (R, K, 3, H, W)

    train = look_up("train", reference.train, reference.train_rows)
    holdout = look_up("holdout", reference.holdout, reference.holdout_rows) if len(reference.holdout) else train[:, :0]
    return draw_sheet(fakes, train, holdout)
