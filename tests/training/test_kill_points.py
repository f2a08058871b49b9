"""A kill before any change that training makes to a file: the same command then ends with byte-identical results.

FACEGAN_KILL_EVERY=1 pytest tests/training/test_kill_points.py    # before each change; the suite tests every 17th
"""

import os
import signal

import pytest
from small_runs import SmallRuns, at_file_event, in_a_fork

EVERY = int(os.environ.get("FACEGAN_KILL_EVERY", "17"))
IMAGES = 24  # three steps, a picture at the last


def kill_this_process():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["first run", "longer run"])
def test_kill_before_any_change_to_a_file_loses_nothing(tmp_path, kind, capfd):
    """These include clean-up, and moving the model to its folder."""
    reference = SmallRuns(tmp_path / "reference")
    assert in_a_fork(lambda: reference.train(images=IMAGES)) == 0
    number, kills = 1 if EVERY == 1 else 3, 0
    while True:
        runs = SmallRuns(tmp_path / str(number))
        if kind != "first run":
            assert in_a_fork(lambda runs=runs: runs.train(images=16)) == 0

        def train_until(runs=runs, number=number):
            at_file_event(runs.folders.model.parents[1], number, kill_this_process)
            runs.train(images=IMAGES)

        status = in_a_fork(train_until)
        if status == 0:  # fewer changes than this number
            break
        assert status == -signal.SIGKILL
        kept = [path for name in ("state", "state.previous") for path in runs.folders.checkpoints.rglob(f"{name}.ckpt")]
        begun = bool(kept) or runs.folders.model.exists()
        capfd.readouterr()
        assert in_a_fork(lambda runs=runs: runs.train(images=IMAGES)) == 0, number
        assert ("a new run" in capfd.readouterr().out) != begun, number
        assert runs.hashes() == reference.hashes(), number
        names = [path.name for path in runs.root.rglob("*")]
        assert not [name for name in names if name.endswith((".part", ".old")) or name.startswith(".trash")], number
        number, kills = number + EVERY, kills + 1
    with capfd.disabled():
        print(f"{kind}: {kills} kills, before one of each {EVERY} of {number} changes")
    assert kills > 3
