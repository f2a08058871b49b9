"""Training curves: reproducible, in the browser's colours, and errors for invalid tables."""

import math
import re
from xml.etree import ElementTree

import pytest
from PIL import Image
from small_generators import read_all

from facegan.common.errors import FaceganError
from facegan.sampling.curves import LOSSES, draw_losses, draw_svg, read_columns

HEADER = "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit,diversity\n"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "losses.csv"
    path.write_text(HEADER + "".join(f"{n * 1000},{math.sin(n)},{math.cos(n)},1,-1,0.9\n" for n in range(20)))
    return path


def test_losses_are_reproducible(table, tmp_path):
    for name in ("one", "two"):
        draw_losses(table, tmp_path / name)
    assert read_all(tmp_path / "one") == read_all(tmp_path / "two")
    assert Image.open(tmp_path / "one/losses.png").size == (800, 900)


def test_svg_labels_its_lines_and_uses_only_css_colours(table):
    svg = draw_svg(LOSSES, read_columns(table, (LOSSES,)))
    assert svg == draw_svg(LOSSES, read_columns(table, (LOSSES,)))
    texts = {"".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")}
    assert {"generator", "discriminator", "real images shown"} <= texts
    colours = set(re.findall(r"(?:stroke|fill): ([^;\"]+)", svg[svg.index("</style>") :]))
    assert colours <= {"none", "var(--ink)", "var(--faint)", "var(--first)", "var(--second)"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        (b"", "something else"),
        (b"\xff\xfe\x00\x81", "something else"),
        (b'images_seen,loss_generator\n1,"2\n', "something else"),
        (b"images_seen,loss_generator\n1,2\n", "no loss_discriminator"),
        (b"images_seen,loss_generator,loss_discriminator\n1,high,2\n", "text in loss_generator"),
    ],
)
def test_invalid_table_is_reported(tmp_path, content, found):
    if content is not None:
        (tmp_path / "losses.csv").write_bytes(content)
    with pytest.raises(FaceganError, match=rf"losses\.csv; found {found}"):
        read_columns(tmp_path / "losses.csv", (LOSSES,))
