"""How training went, as charts.

In: losses.csv and quick_scores.csv, as training writes them. Out: losses.png, and the same charts one by one as SVG texts that
follow the reader's light or dark setting. The same table gives the same bytes.
"""

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING

from facegan.common.errors import FaceganError
from facegan.common.files import replace_file

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

CHART_INCHES = (5.0, 2.9)
# What stands for a colour in matplotlib's SVG: name -> (placeholder, on light paper, on dark paper)
SVG_COLOURS = {
    "ink": ("#010101", "#55555c", "#a9a9b2"),
    "faint": ("#020202", "#e4e2de", "#36363c"),
    "first": ("#030303", "#b4462f", "#f08a6c"),
    "second": ("#040404", "#1f6f8b", "#6cc0dc"),
}
PNG_COLOURS = {name: light for name, (_, light, _) in SVG_COLOURS.items()}


@dataclasses.dataclass(frozen=True)
class Chart:
    """What one chart shows.

    Attributes:
        title: what is drawn.
        explanation: how to read it, in a sentence or two.
        lines: the table's columns that are drawn, and what to call each.
        level: where a horizontal line shows what to compare with.
    """

    title: str
    explanation: str
    lines: dict[str, str]
    level: float | None = None


LOSSES = Chart(
    "Losses",
    "What each network is trained to make small. The two pull against each other, so neither goes to zero in a healthy training; "
    "two lines that stay level mean balance. A low loss is no sign of good faces.",
    {"loss_generator": "generator", "loss_discriminator": "discriminator"},
)
LOGITS = Chart(
    "Logits",
    "How real the discriminator finds pictures, on average: above zero it says real, below zero it says generated. The nearer the two "
    "lines, the harder it is to tell them apart.",
    {"real_logit": "real pictures", "fake_logit": "generated pictures"},
    level=0.0,
)
DIVERSITY = Chart(
    "Diversity",
    "How much generated pictures differ from each other, beside the real ones: 1 is as varied as the real pictures. A fall towards 0 "
    "means that the generator draws one picture over and over (mode collapse).",
    {"diversity": "generated beside real"},
    level=1.0,
)
QUICK_SCORES = Chart(
    "Quick scores",
    "The distance to the real pictures on a small sample, taken during training; lower is better. Compare its values with each other, "
    "and not with the scores above, which are taken on more pictures.",
    {"score": "quick score"},
)


def draw_losses(table: Path, out: Path) -> None:
    """Writes losses.png: both networks' losses, their mean logits and the diversity over the images seen.

    Args:
        table: losses.csv.

    Raises:
        FaceganError: no such file, or columns are missing.
    """
    from matplotlib.figure import Figure

    charts = (LOSSES, LOGITS, DIVERSITY)
    columns = read_columns(table, charts)
    figure = Figure(figsize=(8, 9), layout="constrained")
    for axes, chart in zip(figure.subplots(len(charts)), charts, strict=True):
        draw_chart(axes, chart, columns, PNG_COLOURS)
        axes.set_title(chart.title, loc="left")
    with replace_file(out / "losses.png") as file:
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})  # without matplotlib's version


def draw_svg(chart: Chart, columns: "pd.DataFrame") -> str:
    """Returns the chart as an SVG text in which the reader's light or dark setting chooses the colours."""
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "facegan", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11}):
        figure = Figure(figsize=CHART_INCHES, layout="constrained")
        draw_chart(figure.subplots(), chart, columns, {name: placeholder for name, (placeholder, _, _) in SVG_COLOURS.items()})
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    light = "".join(f"--{name}:{colour};" for name, (_, colour, _) in SVG_COLOURS.items())
    dark = "".join(f"--{name}:{colour};" for name, (_, _, colour) in SVG_COLOURS.items())
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}text{{font-family:system-ui,sans-serif!important}}</style>"
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("<defs>", style + "<defs>", 1)
    for name, (placeholder, _, _) in SVG_COLOURS.items():
        svg = svg.replace(placeholder, f"var(--{name})")
    return svg


def draw_chart(axes: "Axes", chart: Chart, columns: "pd.DataFrame", colours: dict[str, str]) -> None:
    """Draws one chart over the images seen."""
    from matplotlib.ticker import EngFormatter

    points = len(columns) == 1  # a line through one point shows nothing
    for (name, label), colour in zip(chart.lines.items(), ("first", "second"), strict=False):
        axes.plot(columns["images_seen"], columns[name], label=label, color=colours[colour], linewidth=1.4, marker="o" if points else None)
    if chart.level is not None:
        axes.axhline(chart.level, color=colours["ink"], linewidth=0.8, linestyle=(0, (4, 3)))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(colours["faint"])
    axes.tick_params(length=0, colors=colours["ink"])
    axes.grid(axis="y", color=colours["faint"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("real images shown", color=colours["ink"])
    if len(chart.lines) > 1:
        axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.97), borderpad=0.2, labelcolor=colours["ink"])


def read_columns(table: Path, charts: tuple[Chart, ...]) -> "pd.DataFrame":
    """Returns a table that has all columns that the charts draw.

    Raises:
        FaceganError: no such file, no table, or a column that is missing or holds no numbers.
    """
    import pandas as pd

    names = ["images_seen", *(name for chart in charts for name in chart.lines)]
    try:
        columns = pd.read_csv(table)
    except FileNotFoundError:
        raise FaceganError(f"expected the course of the training in {table}; found no such file; train first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise FaceganError(f"expected a table in {table}; found another file ({error}); train again") from None
    missing = [name for name in names if name not in columns]
    if missing:
        raise FaceganError(f"expected columns {', '.join(names)} in {table}; found no {', '.join(missing)}; train again")
    wrong = [name for name in names if not pd.api.types.is_numeric_dtype(columns[name]) and len(columns)]
    if wrong:
        raise FaceganError(f"expected numbers in {table}; found others ({', '.join(wrong)}); train again")
    return columns
