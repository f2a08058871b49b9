"""Curves over the images seen, as Gradio's line plots. Values that are not finite leave gaps."""

import math
from collections.abc import Mapping, Sequence

import gradio as gr
import pandas as pd

IMAGES = "real images seen"
START, PEAK = 0.1, 2.0  # fraction of the images; a range this many times that of the rest is cut off

Curve = tuple[Sequence[float], Sequence[float]]


def build_curves(titles: Mapping[str, str]) -> list[gr.LinePlot]:
    """Returns one plot per title, with the name of its vertical axis, hidden until ``show_curves`` gives it values."""
    with gr.Row():
        return [
            gr.LinePlot(
                x=IMAGES,
                y="value",
                color="curve",
                title=title,
                y_title=axis,
                tooltip="all",
                color_title=" ",
                x_axis_format="~s",
                height=230,
                min_width=320,
                visible=False,
                buttons=[],
            )
            for title, axis in titles.items()
        ]


def show_curves(figures: Mapping[str, Mapping[str, Curve]]) -> list[gr.LinePlot]:
    """Returns the updates of ``build_curves``'s plots for curves by title and name; a plot without values is hidden."""
    return [show_figure(title, curves) for title, curves in figures.items()]


def show_figure(title: str, curves: Mapping[str, Curve]) -> gr.LinePlot:
    """Returns a plot's update. The first images are cut off where their values would flatten the rest of the curves."""
    points = [(x, y if math.isfinite(y) else None, name) for name, curve in curves.items() for x, y in zip(*curve, strict=False)]
    finite = [(x, y) for x, y, _ in points if y is not None]
    if not finite:
        return gr.LinePlot(visible=False)
    first, last = min(finite)[0], max(finite)[0]
    settled = [y for x, y in finite if x >= first + START * (last - first)]
    low, high = min(settled), max(settled)
    values = [y for _, y in finite]
    limits: list[float | None] = [None, None]
    if max(values) - min(values) > PEAK * (high - low) > 0:
        limits, title = [low, high], f"{title} (start cut off)"
    return gr.LinePlot(pd.DataFrame(points, columns=[IMAGES, "value", "curve"]), title=title, y_lim=limits, visible=True)


def select_curves(columns: Mapping[str, Sequence[float]], names: Mapping[str, str], averaged: int = 1) -> dict[str, Curve]:
    """Returns the named columns that exist over the column images_seen, by their labels, as means over ``averaged`` points."""
    images = columns.get("images_seen")
    smooth = {name: pd.Series(columns.get(name, [])).rolling(averaged, min_periods=1).mean().tolist() for name in names}
    return {label: (images, smooth[name]) for name, label in names.items() if images and smooth[name]}
