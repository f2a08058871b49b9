"""A generator's scores, and the protocol they were computed under.

Input: a generator, the reference of the real images, their shards, and an extractor. Output: a report, the few numbers of it that go into
metrics/evaluate.json, and an image sheet of nearest neighbours. Images are generated and processed batch by batch; none is written to disk.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError, printable
from facegan.common.labels import find_positions
from facegan.common.shards import Split
from facegan.models.generator_file import Card
from facegan.models.latents import generate_images, seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.models.registry import build_generator, describe_model
from facegan.scoring import structure
from facegan.scoring.extractors import BATCH, Extractor, name_frechet
from facegan.scoring.face_share import measure_face_share, watch_for_faces
from facegan.scoring.label_accuracy import LABEL_ACCURACY, METHOD, measure_label_accuracy
from facegan.scoring.memorisation import CHANCE, Memorisation, draw_sheet, measure_memorisation
from facegan.scoring.neighbourhoods import find_neighbours
from facegan.scoring.parameters import FEWEST_IMAGES, EvaluateParameters
from facegan.scoring.protocol import Protocol
from facegan.scoring.reference import REMEDY, Reference, gather
from facegan.scoring.scores import Features, compare_all, estimate_all_intervals, extract_features

SHEET_ROWS = 8
SHEET_NEIGHBOURS = 4

Report = dict[str, Any]  # the content of report.json


def evaluate(
    generator: GeneratorNetwork, card: Card, reference: Reference, shards: Path, extractor: Extractor, parameters: EvaluateParameters
) -> tuple[Report, Tensor]:
    """Returns a report on ``parameters.images`` generated faces, and their features (images, D).

    The report contains the scores by name, their intervals for another seed, the scores of real images against other real images (the
    floor) and of an untrained generator, the memorisation test, the share of images with a face, the label accuracy of a labelled
    generator, and the protocol.

    Raises:
        FaceganError: the reference was made with another extractor or other weights, or from images of another size than the generator's.
    """
    check_extractor(reference, extractor)
    if card.resolution != reference.protocol.resolution:
        expected, found = (f"{size}×{size} pixels" for size in (reference.protocol.resolution, card.resolution))
        raise FaceganError(f"expected a generator of {expected}, like the real images; found one of {found}; choose another with --model")
    faces: list[bool] = []
    images = watch_for_faces(generate(generator, parameters, extractor.device), faces)
    features = extract_features(extractor, reference.components, images, "generated images", parameters.images)
    report: Report = {
        "model": describe_model(card.parameters),
        "images_seen": card.images_seen,
        "data_fingerprint": card.data_fingerprint,
        "parameters_fingerprint": card.parameters_fingerprint,
        **score(features, reference.real, extractor),
        "floor": reference.floor,
        "untrained": score_untrained(card, reference, extractor, parameters),
        **check_memorisation(features, reference, parameters.seed),
    }
    if share := measure_face_share(faces, reference, shards):
        report["share_with_face"] = dataclasses.asdict(share)
    protocol = Protocol(**dataclasses.asdict(reference.protocol), generated=parameters.images, seed=parameters.seed)
    if columns := generator.labels.columns:
        latents = seeded_latents(generator, parameters.images, parameters.seed)
        labels = find_positions(latents[:, generator.latent_size :], columns)
        if accuracy := measure_label_accuracy(features, labels, columns, reference, shards):
            for part, key in (("generated", "generated"), ("floor", "real"), ("untrained", "guessing"), ("another_seed_95", "margin")):
                report[part] = report[part] | ({LABEL_ACCURACY: accuracy[key]} if key in accuracy else {})
            report["labels"] = accuracy["columns"]
            method = f"{METHOD}; {accuracy['fitted_on']} training images; mean of {', '.join(accuracy['columns'])}"
            protocol = dataclasses.replace(protocol, labels=method)
    return round_numbers(report | {"protocol": protocol.as_plain()}), features.network


def score(fake: Features, real: Features, extractor: Extractor) -> Report:
    """Returns the part of a report with the scores of generated images against real ones, and their intervals."""
    return {"generated": compare_all(real, fake, extractor), "another_seed_95": estimate_all_intervals(real, fake, extractor)}


def score_untrained(card: Card, reference: Reference, extractor: Extractor, parameters: EvaluateParameters) -> dict[str, float]:
    """Returns the scores of a generator of the same architecture with newly initialised weights: the other end of the scale."""
    torch.manual_seed(parameters.seed)
    generator = build_generator(card.parameters, card.resolution).to(extractor.device).eval()
    images = generate(generator, parameters, extractor.device)
    features = extract_features(extractor, reference.components, images, "untrained generator", parameters.images)
    return compare_all(reference.real, features, extractor)


def check_memorisation(fake: Features, reference: Reference, seed: int) -> Report:
    """Returns the part of a report with the memorisation test, in both spaces, or the reason why there is none."""
    if len(reference.holdout) < FEWEST_IMAGES:
        return {"memorisation_untested": {"holdout": len(reference.holdout), "needed": FEWEST_IMAGES}}
    network = measure_memorisation(fake.network, reference.holdout, reference.train, seed)
    structured = measure_memorisation(fake.structure, reference.holdout_structure, reference.train_structure, seed)
    chance = combine_chances(network, structured)
    result = dataclasses.asdict(network) | {"detected": chance < CHANCE, "combined_chance": chance}
    return {"memorisation": result | {"in_structure": dataclasses.asdict(structured)}}


def combine_chances(*tests: Memorisation) -> float:
    """Returns the p-value of several tests together (Bonferroni): their smallest one, times their number."""
    return min(1.0, len(tests) * min(test.chance for test in tests))


def summarise(report: Report, space: str) -> Report:
    """Returns the few numbers of a report that runs are compared by, without nesting, for DVC."""
    scores, distances = report["generated"], (name_frechet(space), name_frechet(structure.NAME))
    metrics = {name: scores[name] for name in (*distances, f"precision_{structure.NAME}", f"recall_{structure.NAME}")}
    metrics |= {f"{name}_{end}": report[end][name] for name in distances for end in ("floor", "untrained") if name in report.get(end, {})}
    if test := report.get("memorisation"):
        metrics |= {"memorised": test["detected"], "memorised_p": test["combined_chance"]}
    elif "memorisation_untested" in report:
        metrics["memorised"] = describe_memorisation(report)
    ends = {LABEL_ACCURACY: scores, f"{LABEL_ACCURACY}_real": report.get("floor", {})}
    metrics |= {name: values[LABEL_ACCURACY] for name, values in ends.items() if LABEL_ACCURACY in values}
    return dict(sorted(metrics.items())) | {"protocol": report["protocol"]["fingerprint"]}


def describe(report: Report, space: str) -> str:
    """Returns the scores, the label accuracy, the memorisation test, the share of images with a face, and a note on other training data."""
    parts = (describe_scores(report, space), describe_labels(report), introduce_memorisation(report))
    return "\n".join(filter(None, (*parts, describe_faces(report), describe_data(report))))


def describe_scores(report: Report, space: str) -> str:
    """Returns the scores that runs are compared by, one line each, with the two ends of each scale as far as the report contains them."""
    names = {
        "sharpness and texture": name_frechet(space),
        "structure and variety": name_frechet(structure.NAME),
        "share that looks real": f"precision_{structure.NAME}",
        "share of the real variety": f"recall_{structure.NAME}",
        "labels that are shown": LABEL_ACCURACY,
    }
    return "\n".join(f"{title}: {describe_score(report, name)}" for title, name in names.items() if name in report["generated"])


def describe_score(report: Report, name: str) -> str:
    """Returns one score with its interval and the two ends of its scale."""
    ends = {"real images": report.get("floor", {}).get(name), "untrained": report.get("untrained", {}).get(name)}
    listed = ", ".join(f"{title} {value:.4g}" for title, value in ends.items() if value is not None)
    text = f"{name} {report['generated'][name]:.4g}, another seed within ±{report['another_seed_95'][name]:.2g}"
    return f"{text} ({listed})" if listed else text


def describe_labels(report: Report) -> str:
    """Returns the label accuracy of each column, on one line; empty without labels."""
    columns = []
    for name, part in report.get("labels", {}).items():
        real = f"real images {part['real']:.2f}, " if "real" in part else ""
        columns.append(f"{printable(name)} {part['generated']:.2f} ({real}guessing {part['guessing']:.2f})")
    return f"labels recognised in generated images: {', '.join(columns)}" if columns else ""


def describe_memorisation(report: Report) -> str:
    """Returns the result of the memorisation test as a line of text; empty if it does not apply."""
    if untested := report.get("memorisation_untested"):
        return f"not tested: {untested['holdout']} held-out images, at least {untested['needed']} needed"
    if "memorisation" not in report:
        return ""
    test = report["memorisation"]
    verdict = "training images are memorised" if test["detected"] else "no sign of memorised training images"
    shares = [part["nearest_is_training"]["share"] for part in (test, test["in_structure"])]
    return (
        f"nearest real image is a training image: {shares[0]:.2f}, in the structure space {shares[1]:.2f}, "
        f"expected {test['expected']:.2f}; p = {test['combined_chance']:.2g}, memorised if below {CHANCE}: {verdict}"
    )


def introduce_memorisation(report: Report) -> str:
    """Returns the line of ``describe_memorisation`` with its subject."""
    line = describe_memorisation(report)
    return f"memorised training images: {line}" if line else ""


def describe_faces(report: Report) -> str:
    """Returns the share of images with a face as a line of text; empty if it was not measured."""
    if "share_with_face" not in report:
        return ""
    share = report["share_with_face"]
    generated, real = f"{share['generated']:.0%} of {share['generated_images']}", f"{share['real']:.0%} of {share['real_images']}"
    return f"a face is detected in {generated} generated images, in {real} real ones"


def describe_data(report: Report) -> str:
    """Returns a note if the generator was trained on other images than the real ones; empty otherwise, and if its training is unknown."""
    scored = report["protocol"]["data"]
    trained = report.get("data_fingerprint", scored)
    return (
        ""
        if trained == scored
        else f"note: it was trained on other images ({trained[:12]}) than those it is scored against ({scored[:12]})"
    )


def round_numbers(value: Any) -> Any:
    """Returns the report rounded to nine significant digits, to hide the order in which CPU cores add."""
    if isinstance(value, dict):
        return {key: round_numbers(item) for key, item in value.items()}
    return float(f"{value:.9g}") if isinstance(value, float) else value


def check_extractor(reference: Reference, extractor: Extractor) -> None:
    """Raises FaceganError unless the reference was made with this extractor."""
    space, sha256 = reference.protocol.extractor, reference.protocol.weights_sha256
    if (space, sha256) != (extractor.space, extractor.weights_sha256):
        expected = f"{extractor.space} ({extractor.weights_sha256[:8]})"
        raise FaceganError(f"expected real features from {expected}; found {printable(space)} ({sha256[:8]}); {REMEDY}")


def generate(generator: GeneratorNetwork, parameters: EvaluateParameters, device: torch.device) -> Iterator[Tensor]:
    """Yields uint8 batches (B, 3, H, W) of generated images, which depend only on the seed."""
    for batch in seeded_latents(generator, parameters.images, parameters.seed).split(BATCH[device.type]):
        yield generate_images(generator, batch)


def draw_neighbours(
    generator: GeneratorNetwork, features: Tensor, reference: Reference, shards: Path, parameters: EvaluateParameters
) -> np.ndarray:
    """Returns a sheet (H, W, 3) of the generated images nearest to a training image, with their neighbours; see ``draw_sheet``.

    Args:
        features: of the images that ``generate`` yields for this generator and these parameters.
    """
    rows = find_neighbours(features, reference.train, 1)[0].flatten().argsort(stable=True)[:SHEET_ROWS].cpu()
    fakes = generate_images(generator, seeded_latents(generator, parameters.images, parameters.seed)[rows]).cpu()

    def look_up(split: Split, candidates: Tensor, order: Tensor) -> Tensor:
        found = find_neighbours(features[rows.to(features.device)], candidates, min(SHEET_NEIGHBOURS, len(candidates)))[1].cpu()
        return gather(shards, split, order.cpu()[found].flatten()).unflatten(0, found.shape)  # (R, K, 3, H, W)

    train = look_up("train", reference.train, reference.train_rows)
    holdout = look_up("holdout", reference.holdout, reference.holdout_rows) if len(reference.holdout) else train[:, :0]
    return draw_sheet(fakes, train, holdout)
