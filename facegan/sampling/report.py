"""report.html: one page that shows a generator's faces, its quality, and its training.

Input: the images drawn by the stage; training.json, losses.csv and quick_scores.csv from training; report.json and neighbours.png from the
evaluation. Output: one self-contained HTML file that loads nothing else. It lists what is missing. The output is byte-identical for the
same inputs.
"""

import base64
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import pydantic

from facegan.common.errors import printable
from facegan.common.files import read_sealed_json, read_sealed_values, write_text
from facegan.models.generator_file import Card
from facegan.models.registry import describe_model
from facegan.sampling.curves import DIVERSITY, LOGITS, LOSSES, QUICK_SCORES, draw_svg, read_columns
from facegan.sampling.explanations import read_scores

IDENTITY = ("images_seen", "data_fingerprint", "parameters_fingerprint")  # of a generator, in its card and in the report of its scores
MEDIA_TYPES = {".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}


class Training(pydantic.BaseModel):
    """training.json: how the generator was trained."""

    device: str
    precision: str
    images_seen: int | None = None
    rewinds: list[dict[str, int]] = []
    warnings: list[str] = []
    quick_score: str | None = None
    parameters: dict[str, dict[str, Any]] = {}


class Share(pydantic.BaseModel):
    """A share and its 95% confidence interval."""

    share: float
    low: float
    high: float


class Memorisation(pydantic.BaseModel):
    """The result of the memorisation test."""

    detected: bool
    nearest_is_training: Share
    expected: float
    chance: float
    searched: int
    holdout: int
    combined_chance: float | None = None  # of this test and the one in the structure space; None: an older report
    in_structure: "Memorisation | None" = None


class Untested(pydantic.BaseModel):
    """Why there is no memorisation test."""

    holdout: int
    needed: int


class FaceShare(pydantic.BaseModel):
    """The shares of images in which a face is detected."""

    generated: float
    real: float
    generated_images: int
    real_images: int


class Evaluation(pydantic.BaseModel):
    """report.json: the scores, and the values and the protocol needed to read them."""

    model: str
    images_seen: int
    data_fingerprint: str
    parameters_fingerprint: str
    generated: dict[str, float]
    another_seed_95: dict[str, float] = {}
    floor: dict[str, float] = {}
    untrained: dict[str, float] = {}
    memorisation: Memorisation | None = None
    memorisation_untested: Untested | None = None
    share_with_face: FaceShare | None = None
    protocol: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sources:
    """Input files of the page; None, or a missing file, leaves a part out.

    Attributes:
        training: training.json.
        losses: losses.csv.
        quick_scores: quick_scores.csv; it may have no rows.
        evaluation: the folder with report.json and neighbours.png.
        manifest: the manifest of the photos, for their licence.
    """

    training: Path | None = None
    losses: Path | None = None
    quick_scores: Path | None = None
    evaluation: Path | None = None
    manifest: Path | None = None


def write_report(out: Path, card: Card, sample: Mapping[str, Any], pictures: Mapping[str, Path], sources: Sources) -> None:
    """Writes report.html. Raises FaceganError for a damaged input file.

    Args:
        sample: the parameters of the stage.
        pictures: ``grid``, ``walk`` and, optionally, ``progress`` and ``labels``.
    """
    import jinja2

    training = read_sealed_json(sources.training, Training, "run the stage train again") if exists(sources.training) else None
    folder = sources.evaluation or Path()
    results = folder / "report.json" if sources.evaluation else None
    evaluation = read_sealed_json(results, Evaluation, "run the stage evaluate again") if exists(results) else None
    if training and training.images_seen not in (None, card.images_seen):
        training = None  # of another run
    missing = [] if training else ["the training parameters"]
    if evaluation is None:
        missing.append("the scores")
    elif any(getattr(evaluation, name) != getattr(card, name) for name in IDENTITY):
        found = f"those in {folder.name} belong to another generator, after {evaluation.images_seen:,} images"
        missing.append(f"the scores ({found}; evaluate this one)")
        evaluation = None
    manifest = read_sealed_values(sources.manifest, "run the stage download again") if evaluation and exists(sources.manifest) else {}
    charts = list(draw_charts(sources))
    missing += [] if charts else ["the training curves"]
    neighbours = folder / "neighbours.png" if evaluation else None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("facegan.sampling", ""),
        autoescape=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"embed": embed, "figure": show_figure, "value": show_value}
    scores = (evaluation.generated, evaluation.another_seed_95, evaluation.floor, evaluation.untrained) if evaluation else ({}, {}, {}, {})
    page = environment.get_template("report.html.jinja").render(
        card=card,
        model=describe_model(card.parameters),
        alone=sources == Sources(),
        sample=sample,
        pictures=pictures,
        training=training,
        charts=charts,
        evaluation=evaluation,
        readings=read_scores(*scores),
        neighbours=neighbours if exists(neighbours) else None,
        parameters={**(training.parameters if training else {"model": {"name": card.model, **card.arguments}}), "sample": dict(sample)},
        missing=missing,
        license=str(manifest.get("license") or ""),
    )
    write_text(out / "report.html", page)


def exists(path: Path | None) -> TypeGuard[Path]:
    """Returns whether there is a file at this path."""
    return path is not None and path.is_file()


def draw_charts(sources: Sources) -> Iterator[dict[str, str]]:
    """Yields title, explanation and picture of each chart with data."""
    for table, charts in ((sources.losses, (LOSSES, LOGITS, DIVERSITY)), (sources.quick_scores, (QUICK_SCORES,))):
        columns = read_columns(table, charts) if exists(table) else None
        if columns is not None and len(columns):
            for chart in charts:
                picture = "data:image/svg+xml;base64," + base64.b64encode(draw_svg(chart, columns).encode()).decode()
                yield {"title": chart.title, "explanation": chart.explanation, "picture": picture}


def embed(path: Path) -> str:
    """Returns an image file as a data URI."""
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def show_figure(value: float, like: float | None = None) -> str:
    """Returns a score in short form, such as 186.6 or 0.246; a margin with the same number of decimals as its score ``like``."""
    return f"{value:,.1f}" if abs(value if like is None else like) >= 10 else "below 0.001" if 0 < value < 0.0005 else f"{value:z.3f}"


def show_value(value: Any) -> str:
    """Returns a parameter as written in params.yaml."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show_value, value))}]"
    return f"{value:_}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)
