"""The page's curves: what they show, and what they leave out."""

import math

from facegan.studio.curves import draw_curves

IMAGES = list(range(0, 1001, 50))


def test_peaks_of_the_start_do_not_flatten_the_rest_and_are_told():
    calm = [1 + 0.001 * number for number in IMAGES]
    peak = [5000.0, *calm[1:]]
    picture = draw_curves("Losses", {"generator": (IMAGES, peak)})
    assert "(the start goes beyond the frame)" in picture and "5k" not in picture
    assert "beyond" not in draw_curves("Losses", {"generator": (IMAGES, calm)})


def test_the_last_value_and_names_of_anybody_are_shown_as_text():
    picture = draw_curves("Losses", {"<b>": ([0, 10], [1.0, 2.5]), "empty": ([0], [math.nan])})
    assert "&lt;b&gt;: 2.5" in picture and "<b>" not in picture
    assert draw_curves("Losses", {"empty": ([0], [math.nan])}) == ""
    assert "polyline" in draw_curves("Losses", {"one": ([0], [1.0])})
