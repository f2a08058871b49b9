"""The report: self-contained, correct about the numbers, complete about missing parts."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from small_generators import choose, make_card

from facegan.common.errors import FaceganError
from facegan.common.files import read_sealed_values, write_sealed_json
from facegan.common.pictures import save_png
from facegan.sampling.explanations import Reading, find_kind
from facegan.sampling.report import Sources, show_figure, write_report

VOID = {"meta", "link", "img", "br", "wbr"}
MEMORISATION = {
    **{"detected": False, "nearest_is_training": {"share": 0.7125, "low": 0.586, "high": 0.833}, "expected": 0.714, "chance": 0.564},
    **{"closer_than_holdout": {"share": 0.0047, "low": 0.002, "high": 0.008}, "searched": 1000, "holdout": 400},
}
FD, KD = "fd_efficientnet_lite0", "kd_efficientnet_lite0"
EVALUATION = {
    **{"model": "dcgan(width=4)", "images_seen": 1000, "data_fingerprint": "data", "parameters_fingerprint": "parameters"},
    "generated": {FD: 186.605055, KD: 0.245686284, f"{KD}_subset_std": 0.0058, "recall_x": 0.015},
    "another_seed_95": {FD: 7.26101599, KD: 0.0127},
    "floor": {"images": 400, FD: 27.1970731, KD: -0.000266, "recall_x": 0.84},
    "untrained": {FD: 291.06911, KD: 0.486, "recall_x": 0.0},
    "memorisation": MEMORISATION,
    "protocol": {"fingerprint": "ea6babede585", "extractor": "efficientnet_lite0", "real": 400, "generated": 400, "truncation": 1.0},
}
TRAIN = {"lr": 0.0003, "flip": True, "images": 100_000, "augment_strength": [0.1, 0.2], "clip_value": None}
TRAINING = {
    **{"device": "cpu", "precision": "bfloat16", "rewinds": [], "warnings": [], "quick_score": None},
    "parameters": {"model": {"name": "dcgan"}, "train": TRAIN},
}
LOSSES = "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit,diversity\n0,1,1,0,0,1\n1000,2,.5,1,-1,1\n"


class Page(HTMLParser):
    """A page's visible text, its tags, and the URLs that it refers to. Checks that elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.urls, self.text, self.tags = [], [], "", set()
        self.feed(text)
        assert not self.open
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.text += " " if tag in ("br", "td") else ""
        self.urls += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data


@pytest.fixture
def sources(tmp_path):
    """The files of a training and an evaluation."""
    (tmp_path / "evaluation").mkdir()
    write_sealed_json(tmp_path / "evaluation/report.json", EVALUATION)
    save_png(tmp_path / "evaluation/neighbours.png", np.zeros((8, 8, 3), np.uint8))
    write_sealed_json(tmp_path / "training.json", TRAINING)
    (tmp_path / "losses.csv").write_text(LOSSES)
    (tmp_path / "quick_scores.csv").write_text("images_seen,score\n")
    write_sealed_json(tmp_path / "manifest.json", {"license": "CC BY 4.0, by the <artist>"})
    return Sources(*(tmp_path / name for name in ("training.json", "losses.csv", "quick_scores.csv", "evaluation", "manifest.json")))


@pytest.fixture
def pictures(tmp_path):
    """Placeholders for the images drawn by the stage."""
    paths = {"grid": tmp_path / "grid.png", "walk": tmp_path / "walk.webp", "progress": tmp_path / "progress.gif"}
    for name, path in paths.items():
        path.write_bytes(name.encode())
    return paths


def write(tmp_path, pictures, sources=None, images_seen=1000):
    write_report(tmp_path, make_card(images_seen), choose(count=10).as_plain(), pictures, sources or Sources())
    text = (tmp_path / "report.html").read_text()
    return text, Page(text)


def change(path, **values):
    write_sealed_json(path, read_sealed_values(path, "") | values)


def test_page_is_self_contained(tmp_path, pictures, sources):
    text, page = write(tmp_path, pictures, sources)
    assert all(url.startswith("data:") for url in page.urls)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text and "script" not in page.tags
    for path in (*pictures.values(), sources.evaluation / "neighbours.png"):
        assert base64.b64encode(path.read_bytes()).decode() in text
    charts = [base64.b64decode(url.partition(",")[2]).decode() for url in page.urls if "svg" in url]
    assert len(charts) == 3 and not any(re.search(r'(href|src)="(?!#)', chart) for chart in charts)
    assert "Not on this page" not in text
    assert "Licence of the training images: CC BY 4.0, by the <artist>." in page.text
    assert write(tmp_path, pictures, sources)[0] == text


def test_scores_are_shown_between_untrained_and_floor(tmp_path, pictures, sources):
    text, page = write(tmp_path, pictures, sources)
    assert "186.6 ± 7.3" in page.text and "0.246 ± 0.013" in page.text and "0.000 real images" in page.text
    assert "scored 291.1" in page.text and "score 27.2" in page.text and "left:39.59%" in text
    assert "covered 40% of the distance" in page.text  # (291.07 - 186.61) / (291.07 - 27.20) = 0.396
    assert "this is not FID" in page.text and "Lower is better." in page.text and "Higher is better." in page.text
    assert "subset_std" not in page.text


def test_parameters_are_shown_as_in_yaml(tmp_path, pictures, sources):
    _, page = write(tmp_path, pictures, sources)
    assert all(shown in page.text for shown in ("lr 0.0003", "flip true", "images 100_000", "clip_value null", "[0.1, 0.2]"))


SHARES = {"generated": 0.935, "real": 0.995, "generated_images": 200, "real_images": 190}
WARNING = "5000 images: collapse: generated images have been <alike>"
BOTH = {**EVALUATION["generated"], "fd_pixels16": 41.5, "recall_pixels16": 0.125}
FID = {"generated": {"fid": 31.2}, "another_seed_95": {}, "floor": {"fid": 5.0}, "untrained": {}}
CHANGES = {  # of the report of the evaluation, and of that of the training; what is shown then, and what is not
    "nothing": ({}, {}, [], ["Faces detected", "Quick scores", "worse than before training"]),
    "worse than untrained": ({"generated": {FD: 374.3}}, {}, ["worse than before training"], ["of the distance"]),
    "faces": ({"share_with_face": SHARES}, {}, ["Faces detected 94% real images: 100%"], ["mean little here"]),
    "no faces": ({"share_with_face": SHARES | {"real": 0.13}}, {}, ["94% real images: 13%", "mean little here"], []),
    "fid": (FID, {}, ["31.2", "real images: 5.0"], ["not FID", "of the distance"]),
    "both distances": ({"generated": BOTH}, {}, ["Structure and variety fd_pixels16 41.5", f"Sharpness and texture {FD} 186.6"], []),
    "warning": ({}, {"warnings": [WARNING]}, [WARNING], []),
    "rewind": ({}, {"rewinds": [{"to_images_seen": 16_000}]}, ["returned to its state after 16,000 images"], []),
    "quick scores": ({}, {"quick_score": "fd_x_quick200"}, ["Quick scores", "fd_x_quick200"], []),
}


@pytest.mark.parametrize(("scores", "training", "shown", "hidden"), CHANGES.values(), ids=CHANGES)
def test_page_shows_what_the_reports_contain(tmp_path, pictures, sources, scores, training, shown, hidden):
    change(sources.evaluation / "report.json", **scores)
    change(sources.training, **training)
    if "quick_score" in training:
        sources.quick_scores.write_text("images_seen,score\n500,260.0\n1000,240.0\n")
    _, page = write(tmp_path, pictures, sources)
    assert [text for text in shown if text not in page.text] == [text for text in hidden if text in page.text] == []


@pytest.mark.parametrize(
    ("test", "phrase"),
    [
        (MEMORISATION, "No sign of memorised training images For 71% of the generated images (59 to 83%)"),
        (MEMORISATION | {"detected": True, "chance": 1e-9}, "is below 0.001; below 0.01, the test is positive"),
        (MEMORISATION | {"combined_chance": 0.5, "in_structure": MEMORISATION}, "In the structure space the share is 71%."),
        (None, "there are 12 held-out images, and at least 20 are needed"),
    ],
)
def test_memorisation_is_reported(tmp_path, pictures, sources, test, phrase):
    change(sources.evaluation / "report.json", memorisation=test, memorisation_untested={"holdout": 12, "needed": 20})
    _, page = write(tmp_path, pictures, sources)
    assert phrase in page.text and ("None of these people exist." in page.text) == ("positive" not in phrase)


def test_page_of_a_generator_alone_lists_what_is_missing(tmp_path, pictures):
    del pictures["progress"]
    text, page = write(tmp_path, pictures)
    assert "files are missing: the training parameters; the scores; the training curves." in page.text
    assert not any(heading in page.text for heading in ("How good is it?", "How the training went", "memorise"))
    assert "width 4" in page.text and "1,000 real images" in page.text and "sample.py --model FILE --face 12 --seed 0" in page.text
    assert text.count("<img") == 2


def test_scores_of_another_generator_are_not_shown(tmp_path, pictures, sources):
    _, page = write(tmp_path, pictures, sources, images_seen=2000)
    assert "the scores (those in evaluation belong to another generator, after 1,000 images" in page.text
    assert "186.6" not in page.text and "How the training went" in page.text


@pytest.mark.parametrize("content", ["", "[]", '{"model": 3}', "\x00"])
def test_invalid_report_file_is_reported(tmp_path, pictures, sources, content):
    (sources.evaluation / "report.json").write_text(content)
    with pytest.raises(FaceganError, match=r"report\.json .*; found .*; run the stage evaluate again"):
        write(tmp_path, pictures, sources)


def test_untrusted_text_is_escaped(tmp_path, pictures, sources):
    change(sources.training, parameters={"train": {"<script>alert(1)</script>": "<img src=http://example.org>", "\x1b[2J": "\x1b[2J"}})
    change(sources.evaluation / "report.json", protocol={"fingerprint": "\x1b[2J", "generated": 1, "real": 1, "extractor": "\x1b[2J"})
    text, page = write(tmp_path, pictures, sources)
    assert "\x1b" not in text and text.count("\\x1b[2J") >= 4
    assert "script" not in page.tags and all(url.startswith("data:") for url in page.urls)
    assert "<img src=http://example.org>" in page.text


def test_figures_are_short():
    figures = {1234.56: "1,234.6", 27.1970731: "27.2", 0.245686: "0.246", 0.0: "0.000", -0.0002: "0.000", 1e-9: "below 0.001"}
    assert {value: show_figure(value) for value in figures} == figures
    assert show_figure(7.26, like=186.6) == "7.3"


def test_readings_are_between_untrained_and_floor():
    lower = Reading("fd_x", find_kind("fd_x"), value=186.6, margin=7.3, floor=27.2, untrained=291.1)
    higher = Reading("recall_x", find_kind("recall_x"), value=0.21, margin=None, floor=0.84, untrained=0.0)
    assert [lower.position(value) for value in (291.1, 27.2, 10.0, 400.0)] == pytest.approx([0, 100, 100, 0])
    assert lower.span == pytest.approx((lower.position(193.9), lower.position(179.3)))
    assert higher.position(0.21) == pytest.approx(25) and higher.span == pytest.approx((25, 25))
    assert not lower.is_worse_than_untrained and not higher.is_worse_than_untrained
    assert Reading("fd_x", None, value=300.0, margin=None, floor=27.2, untrained=291.1).is_worse_than_untrained
    assert Reading("recall_x", None, value=0.1, margin=None, floor=0.84, untrained=0.2).is_worse_than_untrained
    assert not Reading("fd_x", None, 1.0, None, floor=None, untrained=2.0).scale


def test_kind_is_the_first_word_of_a_score():
    kinds = {name: find_kind(name) for name in ("fid", "fid_clean", "fd_dinov2", "kid", "kd_x", "fidelity", "precision_x")}
    titles = [kind and kind.title for kind in kinds.values()]
    assert titles == [*["Sharpness and texture"] * 3, *["Kernel distance"] * 2, None, "Precision"]
    assert find_kind("fd_pixels16").title == "Structure and variety" and find_kind("recall_pixels16").better == "higher"
