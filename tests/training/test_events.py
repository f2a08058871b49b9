"""TensorBoard event files: complete, without duplicates after a resumed run, and without an effect on the results."""

import importlib.util
import signal

import pytest
from small_runs import SmallRuns

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def read_events(runs: SmallRuns):
    [run] = runs.runs()
    return event_accumulator.EventAccumulator(str(run / "tensorboard"), {"scalars": 0, "images": 0}).Reload()


def read_steps(events, tag: str) -> list[int]:
    return [event.step for event in events.Scalars(tag)]


def test_rows_scores_and_pictures_are_written(runs):
    runs.train()
    events = read_events(runs)
    rows = [line.split(",") for line in (runs.folders.metrics / "losses.csv").read_text().splitlines()]
    assert read_steps(events, "loss_generator") == [int(row[0]) for row in rows[1:]]
    column = rows[0].index("real_logit")
    assert [event.value for event in events.Scalars("real_logit")] == pytest.approx([float(row[column]) for row in rows[1:]], rel=1e-4)
    assert read_steps(events, "quick_score") == [40]
    pictures = {event.step: event.encoded_image_string for event in events.Images("faces")}
    assert pictures[24] == (runs.folders.model / "progress/0000000024.png").read_bytes()


def test_resumed_run_has_no_duplicates(runs):
    assert runs.stop_at(24, checkpoint_seconds=1e9) == 128 + signal.SIGINT
    runs.train()
    steps = read_steps(read_events(runs), "loss_generator")
    assert steps == sorted(set(steps)) and steps[-1] == 48


def test_results_do_not_depend_on_tensorboard(tmp_path, monkeypatch):
    with_events = SmallRuns(tmp_path / "with").train()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = SmallRuns(tmp_path / "without")
    assert without.train() == with_events
    assert not (without.runs()[0] / "tensorboard").exists()
