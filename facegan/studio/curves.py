"""Curves over the images seen, as SVG that takes its colours from the page: small, sharp at any size, and readable without colours."""

import html
import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 420, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 16, 8, 24
TICKS = 5
START, PEAK = 0.1, 2.0  # of the images; how many times the height of all the rest
DASHES = ("", "6 3", "2 2", "8 2 2 2")

Curve = tuple[Sequence[float], Sequence[float]]


def draw_curves(title: str, curves: Mapping[str, Curve]) -> str:
    """Returns a figure with a legend. Where peaks of the start would flatten all the rest, its height is the rest's.

    Args:
        curves: by name, images seen and values. Values that are not finite leave gaps.
    """
    points = {name: [(x, y) for x, y in zip(*curve, strict=False) if math.isfinite(y)] for name, curve in curves.items()}
    everything = [point for part in points.values() for point in part]
    if not everything:
        return ""
    low_x, high_x = widen(min(x for x, _ in everything), max(x for x, _ in everything))
    low_y, high_y = widen(min(y for _, y in everything), max(y for _, y in everything))
    settled = [y for x, y in everything if x >= low_x + START * (high_x - low_x)]
    low_settled, high_settled = widen(min(settled), max(settled))
    if high_y - low_y > PEAK * (high_settled - low_settled):
        low_y, high_y = low_settled, high_settled
        title += " (the start goes beyond the frame)"

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - low_x) / (high_x - low_x), min(max((y - low_y) / (high_y - low_y), 0), 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = []
    for value in choose_ticks(low_y, high_y):
        height = place(low_x, value)[1]
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{height + 3.5:.1f}" text-anchor="end">{describe(value)}</text>')
    for value in choose_ticks(low_x, high_x):
        parts.append(f'<text x="{place(value, low_y)[0]:.1f}" y="{HEIGHT - 7}" text-anchor="middle">{describe(value)}</text>')
    legend = []
    for number, (name, part) in enumerate(points.items()):
        dash = f' stroke-dasharray="{DASHES[number % len(DASHES)]}"' if number else ""  # what lies below another shows through
        way = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in part)
        last = f": {part[-1][1]:.4g}" if part else ""
        parts.append(f'<polyline class="curve{number % 4}" points="{way}"{dash}><title>{html.escape(name)}{last}</title></polyline>')
        legend.append(
            f'<span><svg class="key" viewBox="0 0 18 6" aria-hidden="true"><line class="curve{number % 4}" x1="0" x2="18" y1="3" y2="3"{dash}/></svg>'
            f"{html.escape(name)}{last}</span>"
        )
    words = html.escape(f"{title} over the real images seen")
    picture = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{"".join(parts)}</svg>'
    return (
        f'<figure class="curves"><figcaption>{html.escape(title)}</figcaption><div class="legend">{"".join(legend)}</div>{picture}</figure>'
    )


def draw_all(figures: Mapping[str, Mapping[str, Curve]]) -> str:
    """Returns several figures side by side, those without values left out."""
    return f'<div class="figures">{"".join(draw_curves(title, curves) for title, curves in figures.items())}</div>'


def widen(low: float, high: float) -> tuple[float, float]:
    """Returns the two ends of an axis, which are never the same."""
    return (low, high) if high > low else (low - max(abs(low), 1) / 2, high + max(abs(high), 1) / 2)


def choose_ticks(low: float, high: float) -> list[float]:
    """Returns a few round numbers from low to high."""
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step = next(step * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= TICKS)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def describe(value: float) -> str:
    """Returns a number as an axis shows it: 12,000 as 12k."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"
