"""A kill before any one of the changes that training makes to its files: the same command then ends in the same bytes.

FACEGAN_KILL_EVERY=1 pytest tests/training/test_kill_points.py    # before each of them; the suite takes every so manieth
"""

import os
import signal

import pytest
from small_runs import SmallRuns, at_file_event, in_a_fork

EVERY = int(os.environ.get("FACEGAN_KILL_EVERY", "17"))
IMAGES = 24  # three steps, a picture at the last


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["the first of all", "one after a finished one"])
def test_a_kill_before_any_change_to_a_file_loses_nothing(tmp_path, kind, capfd):
    """Tidying up, and the moving of the model into its place, are among these."""
    whole = SmallRuns(tmp_path / "whole")
    assert in_a_fork(lambda: whole.train(images=IMAGES)) == 0
    number, kills = 1 if EVERY == 1 else 3, 0
    while True:
        runs = SmallRuns(tmp_path / str(number))
        if kind != "the first of all":
            assert in_a_fork(lambda runs=runs: runs.train(images=16)) == 0

        def train_until(runs=runs, number=number):
            at_file_event(runs.folders.model.parents[1], number, kill_itself)
            runs.train(images=IMAGES)

        status = in_a_fork(train_until)
        if status == 0:  # fewer changes than that
            break
        assert status == -signal.SIGKILL
        kept = [path for name in ("state", "state.previous") for path in runs.folders.checkpoints.rglob(f"{name}.ckpt")]
        begun = bool(kept) or runs.folders.model.exists()
        capfd.readouterr()
        assert in_a_fork(lambda runs=runs: runs.train(images=IMAGES)) == 0, number
        assert ("a new run" in capfd.readouterr().out) != begun, number
        assert runs.hashes() == whole.hashes(), number
        leftovers = [
            path
            for path in runs.folders.model.parents[1].rglob("*")
            if path.name.endswith((".part", ".old")) or path.name.startswith(".trash")
        ]
        assert leftovers == [], number
        number, kills = number + EVERY, kills + 1
    with capfd.disabled():
        print(f"{kind}: {kills} kills, before one of each {EVERY} of {number} changes")
    assert kills > 3
