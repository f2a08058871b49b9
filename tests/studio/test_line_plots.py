"""Curves: cut-off peaks, missing values."""

import math

import pytest

pytest.importorskip("gradio")

from facegan.studio.curves import show_figure

IMAGES = list(range(0, 1001, 50))
CALM = [1 + 0.001 * number for number in IMAGES]


def test_a_peak_at_the_start_is_cut_off_and_the_title_states_it():
    plot = show_figure("Losses", {"generator": (IMAGES, [5000.0, *CALM[1:]])})
    assert plot.y_lim == [CALM[2], CALM[-1]]
    assert plot.title == "Losses (start cut off)"
    assert show_figure("Losses", {"generator": (IMAGES, CALM)}).y_lim == [None, None]


def test_values_that_are_not_finite_leave_gaps_and_a_plot_without_values_is_hidden():
    plot = show_figure("Losses", {"a": ([0, 10, 20], [1.0, math.nan, 2.0])})
    assert [value is None for _, value, _ in plot.value["data"]] == [False, True, False]
    assert not show_figure("Losses", {"empty": ([0], [math.nan])}).visible
