"""A generator's scores, with the protocol they were taken under.

In: a generator, the reference of the real images, their shards, and an extractor. Out: a report, the few numbers of it for
metrics/evaluate.json, and a picture sheet of nearest neighbours. Images are generated, looked at and forgotten batch by batch; none
is written to disk.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError, printable
from facegan.common.progress import Progress
from facegan.models.generator_file import Card
from facegan.models.latents import generate_images, seeded_latents
from facegan.models.registry import build_generator, describe_model
from facegan.scoring.extractors import BATCH, Extractor, extract, name_frechet, name_kernel
from facegan.scoring.face_share import look_for_faces, measure_face_share
from facegan.scoring.memorisation import draw_sheet, measure_memorisation
from facegan.scoring.neighbourhoods import find_neighbours
from facegan.scoring.parameters import FEWEST_IMAGES, EvaluateParameters
from facegan.scoring.protocol import Protocol
from facegan.scoring.reference import REMEDY, Reference, gather
from facegan.scoring.scores import compare, estimate_intervals

SHEET_ROWS = 8
SHEET_NEIGHBOURS = 4


def evaluate(
    generator: nn.Module, card: Card, reference: Reference, shards: Path, extractor: Extractor, parameters: EvaluateParameters
) -> tuple[dict[str, Any], Tensor]:
    """Returns a report on ``parameters.images`` generated faces, and their features (images, D).

    The report holds the scores by name, how far another seed's may lie, the same of real against other real images (the floor) and
    of an untrained generator, the memorisation test, in how many pictures a face is found, and the protocol.

    Raises:
        FaceganError: a reference made with another extractor or other weights, or of images of another size than the generator's.
    """
    check_extractor(reference, extractor)
    if card.resolution != reference.protocol.resolution:
        expected, found = (f"{size}×{size} pixels" for size in (reference.protocol.resolution, card.resolution))
        raise FaceganError(f"expected a generator of {expected}, as the real images are; found one of {found}; name another with --model")
    space = extractor.space
    found: list[bool] = []  # whether a picture shows a face
    features = extract(extractor, look_for_faces(generate(generator, parameters, extractor.device), found))
    protocol = Protocol(**dataclasses.asdict(reference.protocol), generated=parameters.images, seed=parameters.seed)
    report: dict[str, Any] = {
        "model": describe_model(card.parameters),
        "images_seen": card.images_seen,
        "data_fingerprint": card.data_fingerprint,
        "parameters_fingerprint": card.parameters_fingerprint,
        "generated": compare(reference.real, features, space, extractor.classifier),
        "another_seed_95": estimate_intervals(reference.real, features, space),
        "floor": reference.floor,
        "untrained": score_untrained(card, reference, extractor, parameters),
    }
    if len(reference.holdout) >= FEWEST_IMAGES:
        memorisation = measure_memorisation(features, reference.holdout, reference.train, parameters.seed)
        report["memorisation"] = dataclasses.asdict(memorisation)
    if faces := measure_face_share(found, reference, shards):
        report["share_with_face"] = dataclasses.asdict(faces)
    report["protocol"] = {"fingerprint": protocol.fingerprint, **dataclasses.asdict(protocol)}
    return round_numbers(report), features


def score_untrained(card: Card, reference: Reference, extractor: Extractor, parameters: EvaluateParameters) -> dict[str, float]:
    """Returns the scores of a generator of the same architecture with fresh weights: the far end of every scale."""
    torch.manual_seed(parameters.seed)
    generator = build_generator(card.parameters, card.resolution).to(extractor.device).eval()
    features = extract(extractor, generate(generator, parameters, extractor.device))
    return compare(reference.real, features, extractor.space, extractor.classifier)


def summarise(report: dict[str, Any], space: str) -> dict[str, Any]:
    """Returns the few numbers of a report that runs are compared by, flat: what DVC shows."""
    frechet, scores = name_frechet(space), report["generated"]
    metrics = {frechet: scores[frechet], name_kernel(space): scores[name_kernel(space)]}
    metrics |= {f"{frechet}_{end}": report[end][frechet] for end in ("floor", "untrained") if frechet in report.get(end, {})}
    metrics |= {name: scores[name] for name in (f"precision_{space}", f"recall_{space}")}
    if "memorisation" in report:
        metrics["memorised"] = report["memorisation"]["detected"]
    return dict(sorted(metrics.items())) | {"protocol": report["protocol"]["fingerprint"]}


def describe(report: dict[str, Any], space: str) -> str:
    """Returns the distance between its two ends, what the memorisation test says, and in how many pictures a face is found, a line each."""
    return "\n".join([describe_distance(report, space), describe_memorisation(report), *describe_faces(report)])


def describe_data(report: dict[str, Any]) -> str:
    """Returns a line that says so where the generator was trained on other images than those it is scored against, else nothing."""
    trained, scored = report["data_fingerprint"], report["protocol"]["data"]
    same = trained == scored
    return "" if same else f"note: it was trained on other images ({trained[:12]}) than those that it is scored against ({scored[:12]})"


def describe_distance(report: dict[str, Any], space: str) -> str:
    """Returns the distance, and the ends of its scale that the report has, in a line."""
    name = name_frechet(space)
    ends = [
        f"{words} {report[end][name]:.4g}"
        for end, words in (("floor", "real photos"), ("untrained", "untrained"))
        if name in report.get(end, {})
    ]
    line = f"{name} {report['generated'][name]:.4g}, another seed within ±{report['another_seed_95'][name]:.2g}"
    return f"{line} ({', '.join(ends)})" if ends else line


def describe_memorisation(report: dict[str, Any]) -> str:
    """Returns what the memorisation test says, in a line."""
    if "memorisation" not in report:
        return "too few held-out images to tell whether it replays training images"
    found = report["memorisation"]
    verdict = "it replays training images" if found["detected"] else "no sign of replayed training images"
    return (
        f"nearest real image is a training image: {found['nearest_is_training']['share']:.2f}, expected {found['expected']:.2f}: {verdict}"
    )


def describe_faces(report: dict[str, Any]) -> list[str]:
    """Returns in how many pictures a face is found as a line, or none where that was not looked for."""
    if "share_with_face" not in report:
        return []
    found = report["share_with_face"]
    generated, real = f"{found['generated']:.0%} of {found['generated_images']}", f"{found['real']:.0%} of {found['real_images']}"
    return [f"a face is found in {generated} generated pictures, in {real} real ones"]


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
            f"expected real features from {extractor.space} ({found[:8]}); found {printable(reference.protocol.extractor)} ({expected[:8]}); {REMEDY}"
        )


def generate(generator: nn.Module, parameters: EvaluateParameters, device: torch.device) -> Iterator[Tensor]:
    """Yields uint8 batches (B, 3, H, W) of generated images, telling how far it is: the same for the same seed."""
    latents = draw_scored_latents(generator, parameters)
    with Progress("generated images", len(latents), "images") as progress:
        for batch in latents.split(BATCH[device.type]):
            yield generate_images(generator, batch)
            progress.add(len(batch))


def draw_scored_latents(generator: nn.Module, parameters: EvaluateParameters) -> Tensor:
    """Returns the latents (images, latent_size) that the generator is scored on."""
    return seeded_latents(generator, parameters.images, parameters.seed)


def draw_neighbours(
    generator: nn.Module, features: Tensor, reference: Reference, shards: Path, parameters: EvaluateParameters
) -> np.ndarray:
    """Returns a sheet (H, W, 3) of the generated images that lie nearest to a training image, with their neighbours.

    Each row: the generated image, its nearest training images, its nearest held-out ones.

    Args:
        features: of the images that ``generate`` yields for this generator and these parameters.
    """
    rows = find_neighbours(features, reference.train, 1)[0].flatten().argsort(stable=True)[:SHEET_ROWS].cpu()
    latents = draw_scored_latents(generator, parameters)[rows]
    fakes = generate_images(generator, latents).cpu()

    def look_up(split: str, candidates: Tensor, order: Tensor) -> Tensor:
        found = find_neighbours(features[rows.to(features.device)], candidates, min(SHEET_NEIGHBOURS, len(candidates)))[1].cpu()
        return gather(shards, split, order.cpu()[found].flatten()).unflatten(0, found.shape)  # (R, K, 3, H, W)

    train = look_up("train", reference.train, reference.train_rows)
    holdout = look_up("holdout", reference.holdout, reference.holdout_rows) if len(reference.holdout) else train[:, :0]
    return draw_sheet(fakes, train, holdout)
