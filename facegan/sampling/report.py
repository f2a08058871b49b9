"""report.html: one page that shows a generator and tells how good it is.

In: the pictures that the stage has drawn; training.json, losses.csv and quick_scores.csv of the training; report.json and
neighbours.png of the evaluation. Out: one HTML file with everything in it, which asks for nothing from anywhere. What is missing
is left out, and the page says so. The same inputs give the same bytes.
"""

import base64
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic

from facegan.common.files import read_json, write_text
from facegan.models.generator_file import Card
from facegan.models.registry import describe_model
from facegan.sampling.curves import DIVERSITY, LOGITS, LOSSES, QUICK_SCORES, draw_svg, read_columns
from facegan.sampling.explanations import read_scores

IDENTITY = ("images_seen", "data_fingerprint", "parameters_fingerprint")  # of a generator, in its card and in its scores' report
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}


class Training(pydantic.BaseModel):
    """training.json: how the generator was trained."""

    device: str
    precision: str
    rewinds: list[dict[str, int]] = []
    warnings: list[str] = []
    quick_score: str | None = None
    parameters: dict[str, dict[str, Any]] = {}


class Share(pydantic.BaseModel):
    """A share of all, and the interval that it lies in 95 times of 100."""

    share: float
    low: float
    high: float


class Memorisation(pydantic.BaseModel):
    """What the memorisation test found."""

    detected: bool
    nearest_is_training: Share
    expected: float
    chance: float
    searched: int
    holdout: int


class FaceShare(pydantic.BaseModel):
    """In which share of pictures the face detector finds a face."""

    generated: float
    real: float
    generated_images: int
    real_images: int


class Evaluation(pydantic.BaseModel):
    """report.json: scores, what they were taken beside, and the protocol."""

    model: str
    images_seen: int
    data_fingerprint: str
    parameters_fingerprint: str
    generated: dict[str, float]
    another_seed_95: dict[str, float] = {}
    floor: dict[str, float] = {}
    untrained: dict[str, float] = {}
    memorisation: Memorisation | None = None
    share_with_face: FaceShare | None = None
    protocol: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sources:
    """Where the page's parts come from; None or a missing file for what there is not.

    Attributes:
        training: training.json.
        losses: losses.csv.
        quick_scores: quick_scores.csv; may have no rows.
        evaluation: the folder with report.json and neighbours.png.
    """

    training: Path | None = None
    losses: Path | None = None
    quick_scores: Path | None = None
    evaluation: Path | None = None


def write_report(out: Path, card: Card, sample: Mapping[str, Any], pictures: Mapping[str, Path], sources: Sources) -> None:
    """Writes report.html.

    Args:
        sample: the parameters of the stage.
        pictures: ``grid`` and ``walk``, and ``progress`` where there is one.

    Raises:
        FaceganError: a file that is there and holds something else.
    """
    import jinja2

    training = read_json(sources.training, Training, "train again") if exists(sources.training) else None
    evaluation = (
        read_json(sources.evaluation / "report.json", Evaluation, "run the stage evaluate again")
        if has_scores(sources.evaluation)
        else None
    )
    missing = [] if training else ["how it was trained"]
    if evaluation and any(getattr(evaluation, name) != getattr(card, name) for name in IDENTITY):
        missing.append(
            f"scores (those in {sources.evaluation.name} are of another generator, after {evaluation.images_seen:,} images; evaluate this one)"
        )
        evaluation = None
    elif not evaluation:
        missing.append("scores")
    charts = list(draw_charts(sources))
    missing += [] if charts else ["the course of its training"]
    neighbours = sources.evaluation / "neighbours.png" if evaluation else None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facegan.sampling", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"embed": embed, "figure": show_figure, "value": show_value}
    page = environment.get_template("report.html.jinja").render(
        card=card,
        model=describe_model(card.parameters),
        alone=sources == Sources(),
        sample=sample,
        pictures=pictures,
        training=training,
        charts=charts,
        evaluation=evaluation,
        readings=read_scores(evaluation.generated, evaluation.another_seed_95, evaluation.floor, evaluation.untrained)
        if evaluation
        else [],
        neighbours=neighbours if exists(neighbours) else None,
        parameters={**(training.parameters if training else {"model": {"name": card.model, **card.arguments}}), "sample": dict(sample)},
        missing=missing,
    )
    write_text(out / "report.html", page)


def has_scores(evaluation: Path | None) -> bool:
    """Returns whether there is an evaluation to read."""
    return evaluation is not None and (evaluation / "report.json").is_file()


def exists(path: Path | None) -> bool:
    """Returns whether there is such a file."""
    return path is not None and path.is_file()


def draw_charts(sources: Sources) -> Iterator[dict[str, str]]:
    """Yields title, explanation and picture of each chart that there is a table for."""
    for table, charts in ((sources.losses, (LOSSES, LOGITS, DIVERSITY)), (sources.quick_scores, (QUICK_SCORES,))):
        columns = read_columns(table, charts) if exists(table) else None
        if columns is not None and len(columns):
            for chart in charts:
                picture = "data:image/svg+xml;base64," + base64.b64encode(draw_svg(chart, columns).encode()).decode()
                yield {"title": chart.title, "explanation": chart.explanation, "picture": picture}


def embed(path: Path) -> str:
    """Returns a picture's file as a data URI."""
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def show_figure(value: float, like: float | None = None) -> str:
    """Returns a score as people read it, 186.6 or 0.246; a margin with as many digits as the score that it is ``like``."""
    return f"{value:,.1f}" if abs(value if like is None else like) >= 10 else "below 0.001" if 0 < value < 0.0005 else f"{value:z.3f}"


def show_value(value: Any) -> str:
    """Returns a parameter as it stands in params.yaml."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show_value, value))}]"
    return f"{value:_}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
