"""README.md of an exported generator: a model card as the Hugging Face hub reads it, filled from the run, no field by hand.

In: the generator's own card, and what its run left in the project (parameters, scores, protocol, where the photos come from). Out:
Markdown with a YAML head. A generator whose run is not the project's gets a card that says so.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from facegan.export.onnx_file import COMPARED_FACES, OPSET
from facegan.models.generator_file import Card
from facegan.scoring.extractors import name_frechet

SOURCES = {
    "avatars": "cartoon faces, drawn on the spot by python-avatars",
    "kaggle": "the Kaggle data set [{path}](https://www.kaggle.com/datasets/{path})",
    "folder": "photos from a folder of whoever trained it",
    "archive": "photos from an archive of whoever trained it",
}
FREE = "avatars"
ALONE = """## Data and scores

This generator was exported without its run: what it learned from, under which licence, and how it scores is not known here.
"""


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """What a run left, as it lies in the project: params.yaml, what training told of itself, the evaluation's report, the photos' manifest."""

    parameters: dict[str, Any]
    training: dict[str, Any]
    report: dict[str, Any]
    manifest: dict[str, Any]


def read_facts(project: Path, card: Card) -> RunFacts | None:
    """Returns what the project's run left, or None when it is not the run that made this generator."""
    report = read_mapping(project / "data" / "evaluation" / "report.json")
    parameters = read_mapping(project / "params.yaml")
    training = read_mapping(project / "metrics" / "train.json") | read_mapping(project / "data" / "model" / "training.json")
    facts = RunFacts(parameters, training, report, read_mapping(project / "data" / "raw" / "manifest.json"))
    model = {"name": card.model, **card.arguments}
    same = all(report.get(name) == getattr(card, name) for name in ("images_seen", "data_fingerprint", "parameters_fingerprint"))
    same = same and report["protocol"]["data"] == card.data_fingerprint  # else scored against other images than it learned from
    return facts if same and facts.parameters.get("model") == model else None


def read_mapping(path: Path) -> dict[str, Any]:
    """Returns the content of a YAML or JSON file, or nothing where there is none."""
    try:
        content = json.loads(path.read_text()) if path.suffix == ".json" else yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def write_card(
    card: Card, facts: RunFacts | None, title: str, parameters: int, sizes: dict[str, int], difference: int, names: dict[int, str]
) -> str:
    """Returns README.md.

    Args:
        title: the generator's name.
        parameters: how many numbers it learned.
        sizes: of the files, in bytes, by name.
        difference: by how many levels of 255 the ONNX file's faces differ from PyTorch's, at most.
        names: of its directions.
    """
    sections = [
        f"---\n{yaml.safe_dump(make_head(card, facts, title), sort_keys=False, allow_unicode=True)}---\n\n# {title}\n",
        describe(card, facts, parameters),
        show_use(sizes, difference, names),
    ]
    if facts:
        sections += [show_data(facts), show_scores(facts), show_parameters(facts)]
    else:
        sections.append(ALONE)
    return "\n".join([*sections, show_limits(card, facts)])


def make_head(card: Card, facts: RunFacts | None, title: str) -> dict[str, Any]:
    """Returns the YAML head, as the hub's documentation has it."""
    free = facts is not None and facts.manifest.get("source") == FREE
    licence = {"license": "mit"} if free else {"license": "other", "license_name": "depends-on-the-photos"}
    head = {
        **licence,
        "library_name": "facegan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "faces", card.model, "onnx", "safetensors"],
    }
    if facts and facts.report.get("generated"):
        protocol = facts.report["protocol"]
        metrics = [
            {"type": name, "value": value, "name": f"{name} (protocol {protocol['fingerprint']})"}
            for name, value in facts.report["generated"].items()
        ]
        data = {
            "type": facts.manifest.get("source", "images"),
            "name": facts.manifest.get("path") or facts.manifest.get("source", "images"),
        }
        head["model-index"] = [
            {"name": title, "results": [{"task": {"type": "unconditional-image-generation"}, "dataset": data, "metrics": metrics}]}
        ]
    return head


def describe(card: Card, facts: RunFacts | None, parameters: int) -> str:
    """Returns what the generator is."""
    arguments = ", ".join(f"{name} {value}" for name, value in card.arguments.items())
    training = facts.training if facts else {}
    parts = [f"on {training['device']} in {training['precision']}"] if {"device", "precision"} <= training.keys() else []
    parts += [f"at {training['images_per_second']:,.0f} images a second"] if training.get("images_per_second") else []
    trained = f" Training ran {', '.join(parts)}." if parts else ""
    return (
        f"![faces](grid.png)\n\nA generator of faces, {card.resolution} × {card.resolution} pixels: {card.model} ({arguments}), {parameters:,} parameters, "
        f"trained on {card.images_seen:,} real images. The weights are the moving average of training's.{trained}\n\n"
        f"Fingerprints: data `{card.data_fingerprint[:16]}`, parameters `{card.parameters_fingerprint[:16]}`. Made with facegan.\n"
    )


def show_use(sizes: dict[str, int], difference: int, names: dict[int, str]) -> str:
    """Returns how to draw faces from each file."""
    rows = {
        "page.html": "open it in a browser: it draws faces, with sliders, and needs no network and no server",
        "generator.safetensors": "the weights; `python draw_torch.py` draws faces with torch, safetensors and pillow (the network is in `generator.py`)",
        "generator.onnx": f"opset {OPSET}, any batch; `python draw_onnx.py` draws faces with onnxruntime and pillow. "
        f"Over {COMPARED_FACES} faces no pixel differs from PyTorch's by more than {difference} of 255",
    }
    lines = [f"| `{name}` | {sizes[name] / 1e6:.2f} MB | {words} |" for name, words in rows.items()]
    known = (
        f"\nDirections that have a name: {', '.join(f'{number + 1} is {name}' for number, name in sorted(names.items()))}.\n"
        if names
        else ""
    )
    return "## Draw faces\n\n| file | size | |\n|---|---|---|\n" + "\n".join(lines) + "\n" + known


def show_data(facts: RunFacts) -> str:
    """Returns what the generator learned from, and under which licence."""
    manifest = facts.manifest
    source = SOURCES.get(str(manifest.get("source")), "photos").format(path=manifest.get("path"))
    licence = manifest.get("license") or "not stated by the source; ask whoever owns the photos before you publish or use this"
    prepared = ", ".join(f"{name} {value}" for name, value in facts.parameters.get("preprocess", {}).items())
    return f"## Data and licence\n\nLearned from {source}: {manifest.get('images', 0):,} images. Licence of the images: {licence}. Prepared with: {prepared}.\n"


def show_scores(facts: RunFacts) -> str:
    """Returns the scores beside their two ends, the protocol, and the test of memorisation."""
    report = facts.report
    columns = [report.get(part, {}) for part in ("generated", "another_seed_95", "floor", "untrained")]
    lines = ["| score | generated | another seed within ± | real against real | untrained |", "|---|---|---|---|---|"]
    for name in columns[0]:
        lines.append(
            f"| {name} | "
            + " | ".join(f"{column[name]:.4g}" if isinstance(column.get(name), int | float) else "" for column in columns)
            + " |"
        )
    protocol = report["protocol"]
    conditions = "\n".join(f"- {name}: {value}" for name, value in protocol.items() if name != "fingerprint")
    text = "## Scores\n\n" + "\n".join(lines)
    text += f"\n\nProtocol `{protocol['fingerprint']}`; scores of other protocols may not be compared with these:\n\n{conditions}\n"
    found = report.get("memorisation")
    if found:
        verdict = "**it replays training images**" if found["detected"] else "no sign of replayed training images"
        text += (
            f"\nMemorisation: the nearest real image is a training image for {found['nearest_is_training']['share']:.0%} of the faces, {found['expected']:.0%} "
            f"would be chance: {verdict} ({found['searched']:,} training and {found['holdout']:,} held-out images searched).\n"
        )
    return text


def show_parameters(facts: RunFacts) -> str:
    """Returns the run's parameters, whole."""
    return f"## Parameters\n\n```yaml\n{yaml.safe_dump(facts.parameters, sort_keys=False, allow_unicode=True)}```\n"


def show_limits(card: Card, facts: RunFacts | None) -> str:
    """Returns what the generator should not be taken for."""
    limits = [
        f"Faces have {card.resolution} pixels a side; enlarging adds nothing to them.",
        "It draws what its training images showed, with their gaps and their skew: who is rare there is rare or badly drawn here.",
        "A generated face may resemble somebody. Do not use it to claim that a person exists, said or did something.",
    ]
    if facts and facts.report.get("generated"):
        frechet = name_frechet(facts.report["protocol"]["extractor"])
        ends = [facts.report.get(part, {}).get(frechet) for part in ("generated", "floor", "untrained")]
        if all(isinstance(end, int | float) for end in ends):
            limits.insert(
                1,
                f"{frechet} {ends[0]:.4g} lies between real images ({ends[1]:.4g}) and an untrained generator ({ends[2]:.4g}): "
                f"{(ends[2] - ends[0]) / (ends[2] - ends[1]):.0%} of the way.",
            )
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits) + "\n"
