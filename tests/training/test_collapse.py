"""The collapse_detector on recorded runs: bad stretches that come back are let pass, lasting collapses are told in time."""

import csv
import json
import math
from pathlib import Path

import pytest
from projects import change_params, copy_project, make_shards, run_stage

from facegan.training.collapse import LASTING_IMAGES, MEAN_HALFLIFE_IMAGES, CollapseDetector
from facegan.training.history import ROW_IMAGES

RECORDED = Path(__file__).parent / "recorded_runs"
RECORDED_BATCH = 128
COME_BACK = ("taught_seed0", "taught_seed1", "discriminator_lr_20_times", "lr_10_times")
HEALTHY = ("spectral",)
COLLAPSED = {"discriminator_lr_100_times": "saturated", "generator_lr_20_times": "alike"}
SATURATED = {"images_seen": 0, "real_logit": 9.0, "fake_logit": -9.0, "diversity": 0.5}
FINE = {"images_seen": 0, "real_logit": 1.0, "fake_logit": -1.0, "diversity": 0.5}


def read_rows(name: str) -> list[dict[str, float]]:
    with (RECORDED / f"{name}.csv").open() as file:
        return [{column: float(value) for column, value in row.items()} for row in csv.DictReader(file)]


def merge(rows: list[dict[str, float]], images: int) -> list[dict[str, float]]:
    """Returns the rows that a longer run would have written: each the mean over so many images."""
    merged, waiting = [], []
    for row in rows:
        waiting.append(row)
        if row["images_seen"] - (merged[-1]["images_seen"] if merged else 0) >= images:
            merged.append(
                {column: sum(one[column] for one in waiting) / len(waiting) for column in row} | {"images_seen": row["images_seen"]}
            )
            waiting = []
    return merged


def first_verdict(rows: list[dict[str, float]], collapse_detector: CollapseDetector) -> tuple[float, str] | None:
    """Returns when the collapse_detector first says that something is wrong, and what; None when he never does."""
    for row in rows:
        verdict = collapse_detector.observe(row)
        if verdict:
            return row["images_seen"], verdict
    return None


@pytest.mark.parametrize("images_a_row", [0, 1_000, ROW_IMAGES])
@pytest.mark.parametrize("name", [*COME_BACK, *HEALTHY])
def test_a_bad_stretch_that_comes_back_is_no_collapse(name, images_a_row):
    assert first_verdict(merge(read_rows(name), images_a_row), CollapseDetector(True, RECORDED_BATCH)) is None


@pytest.mark.parametrize("name", ["taught_seed0", "discriminator_lr_20_times"])
def test_the_bad_stretches_are_bad_enough_to_tell_something(name):
    margins = [row["real_logit"] - row["fake_logit"] for row in merge(read_rows(name), 1_000)]
    assert max(margins) > 15
    assert margins[-1] < 8


@pytest.mark.parametrize("images_a_row", [0, 1_000, ROW_IMAGES])
@pytest.mark.parametrize("name", COLLAPSED)
def test_a_lasting_collapse_is_told_within_the_stated_images(name, images_a_row):
    rows = merge(read_rows(name), images_a_row)
    seen, verdict = first_verdict(rows, CollapseDetector(True, RECORDED_BATCH))
    assert COLLAPSED[name] in verdict
    assert "train." in verdict
    longest_row = max(images_a_row, RECORDED_BATCH * 2)
    patience = CollapseDetector(True, RECORDED_BATCH).patience_images
    assert patience <= seen <= patience + MEAN_HALFLIFE_IMAGES + longest_row


def test_a_sign_that_goes_away_starts_anew():
    collapse_detector = CollapseDetector(True, RECORDED_BATCH)
    for seen in range(0, LASTING_IMAGES * 4, 1_000):
        good = seen % (LASTING_IMAGES - 5_000) > LASTING_IMAGES - 12_000  # some 7,000 images of each 20,000
        assert collapse_detector.observe((FINE if good else SATURATED) | {"images_seen": seen}) is None


def test_one_good_row_among_bad_ones_does_not_hide_them():
    collapse_detector = CollapseDetector(True, RECORDED_BATCH)
    rows = [(FINE if step % 20 == 0 else SATURATED) | {"images_seen": step * 128} for step in range(1, 400)]
    seen, _ = first_verdict(rows, collapse_detector)
    assert seen <= LASTING_IMAGES + MEAN_HALFLIFE_IMAGES * 2


def test_large_batches_are_given_as_many_steps():
    assert CollapseDetector(True, 512).patience_images == 200 * 512
    rows = [SATURATED | {"images_seen": step * 512} for step in range(1, 300)]
    seen, _ = first_verdict(rows, CollapseDetector(True, 512))
    assert seen == 200 * 512


def test_logits_without_a_meaning_of_certainty_are_not_judged():
    rows = [SATURATED | {"images_seen": seen} for seen in range(0, 200_000, 1_000)]
    assert first_verdict(rows, CollapseDetector(False, RECORDED_BATCH)) is None


def test_the_memory_goes_through_a_checkpoint():
    rows = read_rows("discriminator_lr_100_times")
    collapse_detector = CollapseDetector(True, RECORDED_BATCH)
    assert first_verdict(rows[:40], collapse_detector) is None
    resumed = CollapseDetector(True, RECORDED_BATCH, json.loads(json.dumps(collapse_detector.memory)))
    assert first_verdict(rows[40:], resumed) == first_verdict(rows, CollapseDetector(True, RECORDED_BATCH))
    assert not math.isnan(resumed.memory["saturated_since"])


def test_a_collapsed_training_stops_and_goes_on_when_told_to(tmp_path):
    hopeless = {"lr": 1e-6, "discriminator_lr_ratio": 1e4, "batch": 128, "images": 28_000, "progress_images": 28_000}
    network = {"name": "dcgan", "width": 4, "latent_size": 8, "discriminator_norm": "batch"}
    project = copy_project(tmp_path, network, on_collapse="stop", **hopeless)
    make_shards(project)
    result = run_stage(project, "train")
    assert result.returncode == 1
    assert "error: collapse: " in result.stderr
    assert "for 25,600 images" in result.stderr
    assert "train.on_collapse: warn" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (project / "data" / "model" / "generator.safetensors").exists()

    change_params(project, on_collapse="warn")
    result = run_stage(project, "train")
    assert result.returncode == 0, result.stderr
    assert "resumed at" in result.stdout
    (warning,) = json.loads((project / "data" / "model" / "training.json").read_text())["warnings"]
    assert "collapse: " in warning
