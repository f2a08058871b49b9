"""The collapse detector on recorded runs: temporary failures are ignored, permanent ones are reported in time."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from small_runs import SmallRuns
from test_step_graphs import CPU

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.training import collapse
from facegan.training.collapse import LASTING_IMAGES, LOST_DIVERSITY, MEAN_HALFLIFE_IMAGES, CollapseDetector, empty_memory
from facegan.training.history import ROW_IMAGES, add_row, check_collapse
from presets import make_small_trainer, run_steps

RECORDED = Path(__file__).parent / "recorded_runs"
RECORDED_BATCH = 128
RECOVERED = ("taught_seed0", "taught_seed1", "discriminator_lr_20_times", "lr_10_times")
HEALTHY = ("spectral",)
COLLAPSED = {"discriminator_lr_100_times": "saturated", "generator_lr_20_times": "alike"}
SATURATED = {"images_seen": 0, "real_logit": 9.0, "fake_logit": -9.0, "diversity": 0.5}
FINE = {"images_seen": 0, "real_logit": 1.0, "fake_logit": -1.0, "diversity": 0.5}


def read_rows(name: str) -> list[dict[str, float]]:
    with (RECORDED / f"{name}.csv").open() as file:
        return [{column: float(value) for column, value in row.items()} for row in csv.DictReader(file)]


def merge(rows: list[dict[str, float]], images: int) -> list[dict[str, float]]:
    """Returns the rows that a longer run would have written: each is the mean over this number of images."""
    merged, pending = [], []
    for row in rows:
        pending.append(row)
        if row["images_seen"] - (merged[-1]["images_seen"] if merged else 0) >= images:
            means = {column: sum(one[column] for one in pending) / len(pending) for column in row}
            merged.append(means | {"images_seen": row["images_seen"]})
            pending = []
    return merged


def first_verdict(rows: list[dict[str, float]], collapse_detector: CollapseDetector) -> tuple[float, str] | None:
    """Returns the images seen at the first report of the detector, and the report; None if there is none."""
    return next(((row["images_seen"], verdict) for row in rows if (verdict := collapse_detector.observe(row))), None)


@pytest.mark.parametrize("images_per_row", [0, 1_000, ROW_IMAGES])
@pytest.mark.parametrize("name", [*RECOVERED, *HEALTHY])
def test_temporary_failure_is_not_reported(name, images_per_row):
    assert first_verdict(merge(read_rows(name), images_per_row), CollapseDetector(True, RECORDED_BATCH)) is None


@pytest.mark.parametrize("images_per_row", [0, 1_000, ROW_IMAGES])
@pytest.mark.parametrize("name", COLLAPSED)
def test_permanent_collapse_is_reported_in_time(name, images_per_row):
    rows = merge(read_rows(name), images_per_row)
    seen, verdict = first_verdict(rows, CollapseDetector(True, RECORDED_BATCH))
    assert COLLAPSED[name] in verdict and "train." in verdict
    patience = CollapseDetector(True, RECORDED_BATCH).patience_images
    assert patience <= seen <= patience + MEAN_HALFLIFE_IMAGES + max(images_per_row, RECORDED_BATCH * 2)


def test_interrupted_sign_of_collapse_starts_over():
    collapse_detector = CollapseDetector(True, RECORDED_BATCH)
    for seen in range(0, LASTING_IMAGES * 4, 1_000):
        good = seen % (LASTING_IMAGES - 5_000) > LASTING_IMAGES - 12_000  # about 7,000 of every 20,000 images
        assert collapse_detector.observe((FINE if good else SATURATED) | {"images_seen": seen}) is None


def test_single_good_rows_do_not_hide_a_collapse():
    collapse_detector = CollapseDetector(True, RECORDED_BATCH)
    rows = [(FINE if step % 20 == 0 else SATURATED) | {"images_seen": step * 128} for step in range(1, 400)]
    seen, _ = first_verdict(rows, collapse_detector)
    assert seen <= LASTING_IMAGES + MEAN_HALFLIFE_IMAGES * 2


def test_patience_covers_a_minimum_of_steps():
    assert CollapseDetector(True, 512).patience_images == 200 * 512
    rows = [SATURATED | {"images_seen": step * 512} for step in range(1, 300)]
    seen, _ = first_verdict(rows, CollapseDetector(True, 512))
    assert seen == 200 * 512


def test_saturation_is_ignored_if_logits_are_not_probabilities():
    rows = [SATURATED | {"images_seen": seen} for seen in range(0, 200_000, 1_000)]
    assert first_verdict(rows, CollapseDetector(False, RECORDED_BATCH)) is None


def test_memory_survives_a_checkpoint():
    rows = read_rows("discriminator_lr_100_times")
    collapse_detector = CollapseDetector(True, RECORDED_BATCH)
    assert first_verdict(rows[:40], collapse_detector) is None
    resumed = CollapseDetector(True, RECORDED_BATCH, json.loads(json.dumps(collapse_detector.memory)))
    assert first_verdict(rows[40:], resumed) == first_verdict(rows, CollapseDetector(True, RECORDED_BATCH))
    assert not math.isnan(resumed.memory["saturated_since"])


def test_generator_with_one_image_per_label_has_no_diversity():
    trainer = make_small_trainer("demo", CPU, 8, labelled=True)
    run_steps(trainer, 3)
    check_collapse(trainer, add_row(trainer), Progress("", 1, "images"))
    varied = trainer.collapse_detector.memory["diversity"]
    with torch.no_grad():  # only labels change the image
        trainer.ema.start.weight.zero_()
        trainer.ema.label_layer.weight.normal_()
    run_steps(trainer, 1)
    trainer.collapse_detector.memory = empty_memory()
    check_collapse(trainer, add_row(trainer), Progress("", 1, "images"))
    assert trainer.collapse_detector.memory["diversity"] < LOST_DIVERSITY < varied


def test_collapsed_training_stops_and_continues_on_request(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(collapse, "LASTING_STEPS", 20)
    monkeypatch.setattr(collapse, "LASTING_IMAGES", 160)
    runs = SmallRuns(tmp_path, norm="batch")
    hopeless = {"lr": 1e-6, "discriminator_lr_ratio": 1e4, "batch": 8, "images": 320, "progress_images": 320}
    game = {"objective": "non_saturating", "penalty": "none", "gamma": 0.0, "penalty_stride": 1, "fresh_batch": False}
    game["score_every_images"] = None
    with pytest.raises(FaceganError, match=r"^collapse: .* for 160 images.*train\.on_collapse: warn"):
        runs.train(on_collapse="stop", **hopeless, **game)
    assert not (runs.folders.model / "generator.safetensors").exists()
    capsys.readouterr()
    runs.train(on_collapse="warn", **hopeless, **game)
    assert "resumed at" in capsys.readouterr().out
    (warning,) = json.loads((runs.folders.model / "training.json").read_text())["warnings"]
    assert "collapse: " in warning
