"""Work shared out to processes: in order, as needed, and all gone afterwards."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from projects import ROOT

from facegan.common.errors import FaceganError
from facegan.photos.worker_pool import TASKS_AHEAD, Workers


def test_results_come_in_order_and_tasks_are_taken_as_needed():
    taken = []

    def tasks():
        for number in range(60):
            taken.append(number)
            yield number, 2

    with Workers(2) as workers:
        results = workers.map(pow, tasks())
        assert taken == []
        assert next(results) == 0 and len(taken) <= 2 * TASKS_AHEAD + 1
        assert list(results) == [number**2 for number in range(1, 60)]
        assert list(workers.map(pow, [(3, 3)])) == [27]  # the same processes, again


def test_an_error_comes_through_as_it_is():
    with pytest.raises(ValueError, match="invalid literal"), Workers(1) as workers:
        list(workers.map(int, [("1",), ("one",)]))


def test_nothing_is_waited_for_when_the_block_ends():
    others = multiprocessing.active_children()  # of other tests
    started = time.monotonic()
    with Workers(2) as workers:
        results = workers.map(time.sleep, [(0,), *[(60,)] * 20])
        next(results)
    assert time.monotonic() - started < 30  # not a matter of speed: the sleeps are sixty seconds each
    assert set(multiprocessing.active_children()) <= set(others)


def test_a_process_that_dies_is_told():
    with pytest.raises(FaceganError, match="expected the worker processes to last; found one killed"), Workers(1) as workers:
        list(workers.map(os._exit, [(1,)]))


def test_no_workers_are_too_few():
    with pytest.raises(FaceganError, match="expected at least 1 in --workers; found 0"):
        Workers(0)


FILL = """
from facegan.common.errors import FaceganError
from facegan.photos.worker_pool import Workers

if __name__ == "__main__":
    try:
        with Workers(2) as workers:
            print({len(block) for block in workers.map(bytes, [(1_000_000,)] * 40)})
    except FaceganError as error:
        print(error)
"""


def run_with_little_room(tmp_path, shared: str) -> str:
    """Returns what a program with worker processes prints where /dev/shm has no more room than this, and the temporary files as little."""
    (tmp_path / "fill.py").write_text(FILL)
    (tmp_path / "tmp").mkdir()
    mounts = f"mount -t tmpfs -o size={shared} tmpfs /dev/shm && mount -t tmpfs -o size=64k tmpfs '{tmp_path}/tmp'"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = ["unshare", "--mount", "sh", "-c", f"{mounts} || exit 99; exec '{sys.executable}' '{tmp_path}/fill.py'"]
    try:
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("unshare is not there")
    if run.returncode == 99 or "unshare" in run.stderr:
        pytest.skip("only root may mount file systems")
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_results_need_no_shared_memory(tmp_path):
    assert run_with_little_room(tmp_path, shared="64k") == "{1000000}\n"


def test_too_little_room_for_the_processes_locks_is_told(tmp_path):
    told = run_with_little_room(tmp_path, shared="4k")
    assert "expected room for 2 worker processes and their locks" in told and "No space left on device" in told and "--workers" in told
