"""The report: one file that asks for nothing, says what the numbers say, and copes with what is missing."""

import base64
import html
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from small_generators import choose, make_card

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.sampling.explanations import Reading, find_kind
from facegan.sampling.report import Sources, show_figure, write_report

VOID = {"meta", "link", "img", "br", "wbr"}
MEMORISATION = {
    "detected": False,
    "nearest_is_training": {"share": 0.7125, "low": 0.586, "high": 0.833},
    "expected": 0.714,
    "chance": 0.564,
    "closer_than_holdout": {"share": 0.0047, "low": 0.002, "high": 0.008},
    "searched": 1000,
    "holdout": 400,
}
EVALUATION = {
    "model": "dcgan(width=4)",
    "images_seen": 1000,
    "data_fingerprint": "data",
    "parameters_fingerprint": "parameters",
    "generated": {
        "fd_efficientnet_lite0": 186.605055,
        "kd_efficientnet_lite0": 0.245686284,
        "kd_efficientnet_lite0_subset_std": 0.0058,
        "recall_x": 0.015,
    },
    "another_seed_95": {"fd_efficientnet_lite0": 7.26101599, "kd_efficientnet_lite0": 0.0127},
    "floor": {"images": 400, "fd_efficientnet_lite0": 27.1970731, "kd_efficientnet_lite0": -0.000266, "recall_x": 0.84},
    "untrained": {"fd_efficientnet_lite0": 291.06911, "kd_efficientnet_lite0": 0.486, "recall_x": 0.0},
    "memorisation": MEMORISATION,
    "protocol": {"fingerprint": "ea6babede585", "extractor": "efficientnet_lite0", "real": 400, "generated": 400, "truncation": 1.0},
}
TRAINING = {
    "device": "cpu",
    "precision": "bfloat16",
    "rewinds": [],
    "warnings": [],
    "quick_score": None,
    "parameters": {
        "model": {"name": "dcgan"},
        "train": {"lr": 0.0003, "flip": True, "images": 100_000, "augment_strength": [0.1, 0.2], "clip_value": None},
    },
}


class Page(HTMLParser):
    """What a page holds: its visible text, the addresses that it names, and whether its elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.text, self.tags = [], [], "", set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.text += " " if tag in ("br", "td") else ""
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data", "action", "poster")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data

    def says(self, sentence):
        return sentence in " ".join(self.text.split())


@pytest.fixture
def sources(tmp_path):
    """A training's and an evaluation's files."""
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/report.json").write_text(json.dumps(EVALUATION))
    save_png(tmp_path / "evaluation/neighbours.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "training.json").write_text(json.dumps(TRAINING))
    (tmp_path / "losses.csv").write_text(
        "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit,diversity\n0,1,1,0,0,1\n1000,2,.5,1,-1,1\n"
    )
    (tmp_path / "quick_scores.csv").write_text("images_seen,score\n")
    return Sources(*(tmp_path / name for name in ("training.json", "losses.csv", "quick_scores.csv", "evaluation")))


@pytest.fixture
def pictures(tmp_path):
    """Stand-ins for the pictures that the stage draws."""
    paths = {"grid": tmp_path / "grid.png", "walk": tmp_path / "walk.webp", "progress": tmp_path / "progress.gif"}
    for name, path in paths.items():
        path.write_bytes(name.encode())
    return paths


def write(tmp_path, pictures, sources=None, images_seen=1000):
    write_report(tmp_path, make_card(images_seen), choose(count=10).as_plain(), pictures, sources or Sources())
    text = (tmp_path / "report.html").read_text()
    return text, Page(text)


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path, pictures, sources):
    text, page = write(tmp_path, pictures, sources)
    assert all(address.startswith("data:") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://", text)
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text and "script" not in page.tags
    for path in (*pictures.values(), sources.evaluation / "neighbours.png"):
        assert base64.b64encode(path.read_bytes()).decode() in text
    charts = [base64.b64decode(address.partition(",")[2]).decode() for address in page.addresses if "svg" in address]
    assert len(charts) == 3 and not any(re.search(r'(href|src)="(?!#)', chart) for chart in charts)
    assert "Not on this page" not in text


def test_the_same_inputs_give_the_same_bytes(tmp_path, pictures, sources):
    assert write(tmp_path, pictures, sources)[0] == write(tmp_path, pictures, sources)[0]


def test_scores_stand_beside_floor_and_untrained_in_words(tmp_path, pictures, sources):
    text, page = write(tmp_path, pictures, sources)
    assert page.says("186.6 ± 7.3")
    assert page.says("Before training this model gets 291.1; real pictures beside other real pictures get 27.2.")
    assert page.says("This generator has come 40% of the way between the two.")  # (291.07 - 186.61) / (291.07 - 27.20) = 0.396
    assert page.says("it is no FID") and page.says("0.246 ± 0.013") and page.says("0.000 real pictures")
    assert page.says("Lower is better.") and page.says("Higher is better.")
    assert "left:39.59%" in text and "subset_std" not in page.text
    assert page.says("lr 0.0003") and page.says("flip true") and page.says("images 100_000") and page.says("clip_value null")
    assert page.says("[0.1, 0.2]")


def test_a_score_that_training_made_worse_is_called_so(tmp_path, pictures, sources):
    change(sources.evaluation / "report.json", generated={"fd_efficientnet_lite0": 374.3})
    _, page = write(tmp_path, pictures, sources)
    assert page.says("This generator does worse than before its training") and not page.says("of the way")


def test_the_share_with_a_face_stands_beside_the_real_pictures(tmp_path, pictures, sources):
    assert not write(tmp_path, pictures, sources)[1].says("Faces found")
    shares = {"generated": 0.935, "real": 0.995, "generated_images": 200, "real_images": 190}
    change(sources.evaluation / "report.json", share_with_face=shares)
    _, page = write(tmp_path, pictures, sources)
    assert page.says("Faces found 94% real pictures: 100% In so many of 200 generated pictures")
    assert not page.says("say little")
    change(sources.evaluation / "report.json", share_with_face=shares | {"real": 0.13})
    assert write(tmp_path, pictures, sources)[1].says("finds few faces in these real pictures either, so here the two numbers say little")


def test_a_fid_is_called_one(tmp_path, pictures, sources):
    change(sources.evaluation / "report.json", generated={"fid": 31.2}, another_seed_95={}, floor={"fid": 5.0}, untrained={})
    _, page = write(tmp_path, pictures, sources)
    assert page.says("31.2") and page.says("real pictures: 5.0") and not page.says("no FID") and not page.says("of the way")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (MEMORISATION, "No sign of training pictures repeated For 71% of the generated pictures (59 to 83%)"),
        (
            MEMORISATION | {"detected": True, "chance": 1e-9},
            "with a probability of below 0.001, and below 0.01 the test counts as positive",
        ),
        (None, "Not tested: there are too few pictures"),
    ],
)
def test_the_memorisation_verdict_is_told(tmp_path, pictures, sources, found, words):
    change(sources.evaluation / "report.json", memorisation=found)
    _, page = write(tmp_path, pictures, sources)
    assert page.says(words) and page.says("None of these people exist.") == ("positive" not in words)


def test_what_went_wrong_in_training_is_told(tmp_path, pictures, sources):
    warning = "5000 images: collapse: generated images have been <alike>"
    change(sources.training, warnings=[warning], rewinds=[{"to_images_seen": 16_000}])
    text, page = write(tmp_path, pictures, sources)
    assert page.says(warning) and html.escape(warning) in text
    assert page.says("After 16,000 images the losses became infinite or no numbers; the training went back to there")


def test_quick_scores_are_drawn_where_they_were_taken(tmp_path, pictures, sources):
    assert not write(tmp_path, pictures, sources)[1].says("Quick scores")
    sources.quick_scores.write_text("images_seen,score\n500,260.0\n1000,240.0\n")
    change(sources.training, quick_score="fd_x_quick200")
    page = write(tmp_path, pictures, sources)[1]
    assert page.says("Quick scores") and page.says("Here fd_x_quick200.")


def test_a_generator_alone_gives_a_page_that_says_what_is_not_there(tmp_path, pictures):
    del pictures["progress"]
    text, page = write(tmp_path, pictures)
    assert page.says("Not on this page, for want of its files: how it was trained; scores; the course of its training.")
    assert not any(page.says(heading) for heading in ("How good is it?", "How the training went", "by heart"))
    assert page.says("width 4") and page.says("1,000 times") and page.says("sample.py --model FILE --face 12 --seed 0")
    assert text.count("<img") == 2


def test_scores_of_another_generator_are_not_shown(tmp_path, pictures, sources):
    _, page = write(tmp_path, pictures, sources, images_seen=2000)
    assert page.says("scores (those in evaluation are of another generator, after 1,000 images; evaluate this one)")
    assert not page.says("186.6") and page.says("How the training went")


@pytest.mark.parametrize("content", ["", "[]", '{"model": 3}', "\x00"])
def test_a_foreign_file_is_told(tmp_path, pictures, sources, content):
    (sources.evaluation / "report.json").write_text(content)
    with pytest.raises(FaceganError, match=r"expected Evaluation in .*report.json; found something else .* run the stage evaluate again"):
        write(tmp_path, pictures, sources)


def test_foreign_text_is_shown_and_does_nothing(tmp_path, pictures, sources):
    change(sources.training, parameters={"train": {"<script>alert(1)</script>": "<img src=http://example.org>"}})
    _, page = write(tmp_path, pictures, sources)
    assert "script" not in page.tags and all(address.startswith("data:") for address in page.addresses)
    assert page.says("<img src=http://example.org>")


def test_figures_are_short():
    assert [show_figure(value) for value in (1234.56, 27.1970731, 0.245686, 0.0, -0.0002, 1e-9, 3.14159)] == [
        "1,234.6",
        "27.2",
        "0.246",
        "0.000",
        "0.000",
        "below 0.001",
        "3.142",
    ]
    assert show_figure(7.26, like=186.6) == "7.3"


def test_readings_place_a_score_between_untrained_and_real():
    lower = Reading("fd_x", find_kind("fd_x"), value=186.6, margin=7.3, floor=27.2, untrained=291.1)
    higher = Reading("recall_x", find_kind("recall_x"), value=0.21, margin=None, floor=0.84, untrained=0.0)
    assert lower.place(291.1) == 0 and lower.place(27.2) == pytest.approx(100) and lower.place(10.0) == 100 and lower.place(400.0) == 0
    assert lower.span == pytest.approx((lower.place(193.9), lower.place(179.3)))
    assert higher.place(0.21) == pytest.approx(25) and higher.span == pytest.approx((25, 25))
    assert not lower.is_worse_than_untrained and not higher.is_worse_than_untrained
    assert Reading("fd_x", None, value=300.0, margin=None, floor=27.2, untrained=291.1).is_worse_than_untrained
    assert Reading("recall_x", None, value=0.1, margin=None, floor=0.84, untrained=0.2).is_worse_than_untrained
    assert not Reading("fd_x", None, 1.0, None, floor=None, untrained=2.0).has_scale


def test_kinds_go_by_whole_words():
    titles = {
        name: find_kind(name) and find_kind(name).title
        for name in ("fid", "fid_clean", "fd_dinov2", "kid", "kd_x", "fidelity", "precision_x")
    }
    assert titles == {
        "fid": "Fréchet distance",
        "fid_clean": "Fréchet distance",
        "fd_dinov2": "Fréchet distance",
        "kid": "Kernel distance",
        "kd_x": "Kernel distance",
        "fidelity": None,
        "precision_x": "Precision",
    }
