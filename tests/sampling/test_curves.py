"""Charts of the training: the same bytes each time, colours that follow the reader, and tables that are none."""

import math
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from PIL import Image
from small_generators import read_all

from facegan.common.errors import FaceganError
from facegan.sampling.curves import DIVERSITY, LOGITS, LOSSES, QUICK_SCORES, draw_losses, draw_svg, read_columns

HEADER = "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit,diversity\n"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text(HEADER + "".join(f"{n * 1000},{math.sin(n)},{math.cos(n)},1,-1,0.9\n" for n in range(20)))
    return path


def test_losses_are_drawn_the_same_each_time(table, tmp_path):
    draw_losses(table, tmp_path / "one")
    draw_losses(table, tmp_path / "two")
    assert read_all(tmp_path / "one") == read_all(tmp_path / "two")
    assert Image.open(tmp_path / "one/losses.png").size == (800, 900)


def test_a_chart_names_its_lines_and_leaves_every_colour_to_the_reader(table):
    svg = draw_svg(LOSSES, read_columns(table, (LOSSES,)))
    assert svg == draw_svg(LOSSES, read_columns(table, (LOSSES,)))
    texts = {"".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    assert {"generator", "discriminator", "real images shown"} <= texts
    drawing = svg[svg.index("</style>") :]
    assert set(re.findall(r"(?:stroke|fill): ([^;\"]+)", drawing)) <= {
        "none",
        "var(--ink)",
        "var(--faint)",
        "var(--first)",
        "var(--second)",
    }


def test_a_line_goes_through_its_points(table):
    columns = pd.DataFrame({"images_seen": [0, 500, 1000], "diversity": [0.0, 1.0, 0.5]})
    lines = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="[^"]*var\(--first\)', draw_svg(DIVERSITY, columns))
    (points,) = ([tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", line)] for line in lines)
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1) and y1 < y2 < y0  # an SVG counts downwards
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.5, abs=1e-3)


def test_missing_inputs_are_told(tmp_path):
    with pytest.raises(FaceganError, match=r"expected the course of the training in .* found no such file"):
        draw_losses(tmp_path / "losses.csv", tmp_path)
    (tmp_path / "losses.csv").write_text("images_seen,loss_generator\n1,2\n")
    with pytest.raises(FaceganError, match=r"found no loss_discriminator, real_logit, fake_logit"):
        draw_losses(tmp_path / "losses.csv", tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x81", b'images_seen,score\n1,"2\n'])
def test_what_is_no_table_is_told(tmp_path, content):
    (tmp_path / "quick_scores.csv").write_bytes(content)
    with pytest.raises(FaceganError, match=r"expected a table in .*quick_scores.csv; found another file"):
        read_columns(tmp_path / "quick_scores.csv", (QUICK_SCORES,))


def test_columns_that_hold_text_are_told(tmp_path):
    (tmp_path / "losses.csv").write_text("images_seen,real_logit,fake_logit\n1,high,low\n")
    with pytest.raises(FaceganError, match=r"expected numbers in .*losses.csv; found others \(real_logit"):
        read_columns(tmp_path / "losses.csv", (LOGITS,))
