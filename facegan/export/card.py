"""README.md of an exported generator: a model card in the format of the Hugging Face hub, filled automatically from the run.

In: the generator's own card, and the results of its run in the project (parameters, scores, protocol, source of the photos). Out: Markdown
with a YAML head. The card of a generator whose run is not in the project states that.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from facegan.common.files import read_sealed_values
from facegan.export.onnx_file import COMPARED_FACES, OPSET
from facegan.models.generator_file import Card

SOURCES = {
    "avatars": "cartoon faces drawn by the program",
    "kaggle": "the Kaggle data set [{path}](https://www.kaggle.com/datasets/{path})",
    "huggingface": "the Hugging Face data set {path}",
    "folder": "photos from the user's own folder",
    "archive": "photos from the user's own archive",
}
FREE = "avatars"


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """The results of a run: params.yaml, the training's own records, the evaluation's report, the photos' manifest."""

    parameters: dict[str, Any]
    training: dict[str, Any]
    report: dict[str, Any]
    manifest: dict[str, Any]


def read_facts(project: Path, card: Card) -> RunFacts | None:
    """Returns the results of the project's run, or None if a different run made this generator. Raises FaceganError for a damaged file."""
    report = read_record(project / "data" / "evaluation" / "report.json", "evaluate")
    parameters = read_mapping(project / "params.yaml")
    training = read_mapping(project / "metrics" / "train.json") | read_record(project / "data" / "model" / "training.json", "train")
    same = all(report.get(name) == getattr(card, name) for name in ("images_seen", "data_fingerprint", "parameters_fingerprint"))
    same = (
        same and report["protocol"]["data"] == card.data_fingerprint
    )  # otherwise it was scored against other images than it was trained on
    same = same and parameters.get("model") == {"name": card.model, **card.arguments}
    return RunFacts(parameters, training, report, read_record(project / "data" / "raw" / "manifest.json", "download")) if same else None


def read_record(path: Path, stage: str) -> dict[str, Any]:
    """Returns what a stage recorded, or an empty mapping if there is no such file. Raises FaceganError for a damaged one."""
    return read_sealed_values(path, f"run the stage {stage} again") if path.is_file() else {}


def read_mapping(path: Path) -> dict[str, Any]:
    """Returns the content of a YAML or JSON file, or an empty mapping if there is none."""
    try:
        content = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def write_card(
    card: Card,
    facts: RunFacts | None,
    title: str,
    parameters: int,
    sizes: Mapping[str, int],
    difference: int,
    names: Mapping[int, str],
    seconds: float,
) -> str:
    """Returns README.md.

    Args:
        title: the generator's name.
        parameters: the number of its trainable parameters.
        sizes: of the files, in bytes, by name.
        difference: the largest difference of the ONNX file's faces from PyTorch's, in levels of 255.
        names: of its directions, by number.
        seconds: that page.html needs for a face.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facegan.export", ""), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"list_values": list_values, "megabytes": show_megabytes, "score": show_score, "yaml": dump}
    return environment.get_template("card.md.jinja").render(
        head=dump(make_head(card, facts, title)),
        title=title,
        card=card,
        parameters=parameters,
        training=describe_training(facts.training) if facts else "",
        sizes=sizes,
        difference=difference,
        names=names,
        facts=facts,
        seconds=seconds,
        source=SOURCES.get(str(facts.manifest.get("source")), "photos").format(path=facts.manifest.get("path")) if facts else "",
        opset=OPSET,
        compared_faces=COMPARED_FACES,
    )


def dump(values: Mapping[str, Any]) -> str:
    """Returns values as YAML, in their order."""
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def list_values(values: Mapping[str, Any]) -> str:
    """Returns named values in one line."""
    return ", ".join(f"{name} {value}" for name, value in values.items())


def show_megabytes(size: int) -> str:
    """Returns a size in bytes as text in megabytes."""
    return f"{size / 1e6:.2f} MB"


def show_score(value: object) -> str:
    """Returns a score as text for the table; empty if it is missing."""
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def make_head(card: Card, facts: RunFacts | None, title: str) -> dict[str, Any]:
    """Returns the metadata at the top of the card, as specified by the hub."""
    free = facts is not None and facts.manifest.get("source") == FREE and "CC BY" not in facts.manifest.get("license", "")
    other = {"license": "other", "license_name": "depends-on-the-photos", "license_link": "README.md"}
    head: dict[str, Any] = {"license": "mit"} if free else other
    head |= {
        "library_name": "facegan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "faces", card.model, "onnx", "safetensors"],
    }
    if facts and facts.report.get("generated"):
        protocol, source = facts.report["protocol"]["fingerprint"], facts.manifest.get("source", "images")
        metrics = [
            {"type": name, "value": value, "name": f"{name} (protocol {protocol})"} for name, value in facts.report["generated"].items()
        ]
        data = {"type": source, "name": facts.manifest.get("path") or source}
        result = {"task": {"type": "unconditional-image-generation"}, "dataset": data, "metrics": metrics}
        head["model-index"] = [{"name": title, "results": [result]}]
    return head


def describe_training(training: Mapping[str, Any]) -> str:
    """Returns the device, precision and speed of the training, if known."""
    parts = [f"on {training['device']} in {training['precision']}"] if {"device", "precision"} <= training.keys() else []
    parts += [f"at {training['images_per_second']:,.0f} images per second"] if training.get("images_per_second") else []
    return ", ".join(parts)
