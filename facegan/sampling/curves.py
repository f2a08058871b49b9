"""Training curves, as charts.

Input: losses.csv and quick_scores.csv, as written by training. Output: losses.png, and the same charts individually as SVG texts that
follow the browser's light or dark mode. The output is byte-identical for the same table.
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
# name -> (placeholder in matplotlib's SVG, colour in light mode, colour in dark mode)
SVG_COLOURS = {
    "ink": ("#010101", "#55555c", "#a9a9b2"),
    "faint": ("#020202", "#e4e2de", "#36363c"),
    "first": ("#030303", "#b4462f", "#f08a6c"),
    "second": ("#040404", "#1f6f8b", "#6cc0dc"),
}
PNG_COLOURS = {name: light for name, (_, light, _) in SVG_COLOURS.items()}


@dataclasses.dataclass(frozen=True)
class Chart:
    """The content of one chart.

    Attributes:
        title, explanation: shown above and below the chart.
        lines: the table's columns to draw, with their labels.
        level: the position of a horizontal reference line.
    """

    title: str
    explanation: str
    lines: dict[str, str]
    level: float | None = None


LOSSES = Chart(
    "Losses",
    "What each network is trained to minimise. The two networks compete, so neither loss goes to zero in a stable training; two flat lines "
    "mean that they are balanced. A low loss does not mean good faces.",
    {"loss_generator": "generator", "loss_discriminator": "discriminator"},
)
LOGITS = Chart(
    "Logits",
    "The discriminator's mean output: above zero means real, below zero means generated. The closer the two lines, the harder it is to "
    "distinguish the images.",
    {"real_logit": "real images", "fake_logit": "generated images"},
    level=0.0,
)
DIVERSITY = Chart(
    "Diversity",
    "How much generated images differ from each other, relative to real images: 1 is as varied as the real images. A drop towards 0 means "
    "that the generator always produces the same image (mode collapse).",
    {"diversity": "generated relative to real"},
    level=1.0,
)
QUICK_SCORES = Chart(
    "Quick scores",
    "The geometric mean of the two distances to the real images, sharpness and texture as well as structure and variety, on a small sample "
    "during training; lower is better. These values are comparable with each other, but not with the scores above, which use more images.",
    {"score": "quick score"},
)


def draw_losses(table: Path, out: Path) -> None:
    """Writes losses.png from losses.csv: both networks' losses, the mean logits and the diversity over the images seen.

    Raises FaceganError for an invalid table; see ``read_columns``.
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
    """Returns the chart as an SVG text whose colours follow the browser's light or dark mode."""
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "facegan", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11}):
        figure = Figure(figsize=CHART_INCHES, layout="constrained")
        draw_chart(figure.subplots(), chart, columns, {name: placeholder for name, (placeholder, _, _) in SVG_COLOURS.items()})
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Type": None, "Format": None})
    light = "".join(f"--{name}:{colour};" for name, (_, colour, _) in SVG_COLOURS.items())
    dark = "".join(f"--{name}:{colour};" for name, (_, _, colour) in SVG_COLOURS.items())
    font = "text{font-family:system-ui,sans-serif!important}"
    style = f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}{font}</style>"
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("<defs>", style + "<defs>", 1)
    for name, (placeholder, _, _) in SVG_COLOURS.items():
        svg = svg.replace(placeholder, f"var(--{name})")
    return svg


def draw_chart(axes: "Axes", chart: Chart, columns: "pd.DataFrame", colours: dict[str, str]) -> None:
    """Draws one chart, with the number of images seen on the x-axis."""
    from matplotlib.ticker import EngFormatter

    points = len(columns) == 1  # one point has no line
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
    """Returns the table. Raises FaceganError if it is missing or damaged, or if a column of the charts is missing or not numeric."""
    import pandas as pd

    names = ["images_seen", *(name for chart in charts for name in chart.lines)]
    try:
        columns = pd.read_csv(table)
    except FileNotFoundError:
        raise FaceganError(f"expected training curves in {table}; found no such file; run the stage train first") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise FaceganError(f"expected a CSV table in {table}; found something else ({error}); run the stage train again") from None
    missing = [name for name in names if name not in columns]
    if missing:
        raise FaceganError(f"expected columns {', '.join(names)} in {table}; found no {', '.join(missing)}; run the stage train again")
    wrong = [name for name in names if not pd.api.types.is_numeric_dtype(columns[name]) and len(columns)]
    if wrong:
        raise FaceganError(f"expected numbers in {table}; found text in {', '.join(wrong)}; run the stage train again")
    return columns
