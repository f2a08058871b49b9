"""The process pool: ordered results, tasks taken on demand, no process left behind."""

import multiprocessing
import os
import subprocess
import sys
import time

import pytest
from projects import ROOT

from facegan.common.errors import FaceganError
from facegan.photos.worker_pool import TASKS_AHEAD, Workers


def test_results_are_ordered_and_tasks_are_taken_on_demand():
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
        assert list(workers.map(pow, [(3, 3)])) == [27]  # the same processes again


def test_exceptions_are_raised_unchanged():
    with pytest.raises(ValueError, match="invalid literal"), Workers(1) as workers:
        list(workers.map(int, [("1",), ("one",)]))


def test_running_tasks_end_with_the_block():
    others = multiprocessing.active_children()  # of other tests
    started = time.monotonic()
    with Workers(2) as workers:
        results = workers.map(time.sleep, [(0,), *[(60,)] * 20])
        next(results)
    assert time.monotonic() - started < 30  # each sleep takes 60 s
    assert set(multiprocessing.active_children()) <= set(others)


def test_dead_process_is_reported():
    with pytest.raises(FaceganError, match="expected the worker processes to keep running; found one killed"), Workers(1) as workers:
        list(workers.map(os._exit, [(1,)]))


def test_zero_workers_are_rejected():
    with pytest.raises(FaceganError, match="expected at least 1 in --workers; found 0"):
        Workers(0)


PROGRAM = """
from facegan.common.errors import FaceganError
from facegan.photos.worker_pool import Workers

if __name__ == "__main__":
    try:
        with Workers(2) as workers:
            print({len(block) for block in workers.map(bytes, [(1_000_000,)] * 40)})
    except FaceganError as error:
        print(error)
"""


def run_with_little_space(tmp_path, shared: str) -> str:
    """Returns the output of PROGRAM with a /dev/shm of this size, and 64 KB for temporary files."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "tmp").mkdir()
    mounts = f"mount -t tmpfs -o size={shared} tmpfs /dev/shm && mount -t tmpfs -o size=64k tmpfs '{tmp_path}/tmp'"
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = ["unshare", "--mount", "sh", "-c", f"{mounts} || exit 99; exec '{sys.executable}' '{tmp_path}/program.py'"]
    try:
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("requires unshare")
    if run.returncode == 99 or "unshare" in run.stderr:
        pytest.skip("requires permission to mount file systems")
    assert (run.returncode, run.stderr) == (0, "")
    return run.stdout


def test_results_need_no_shared_memory(tmp_path):
    assert run_with_little_space(tmp_path, shared="64k") == "{1000000}\n"


def test_too_little_shared_memory_for_locks_is_reported(tmp_path):
    message = run_with_little_space(tmp_path, shared="4k")
    assert "expected room for 2 worker processes" in message and "No space left on device" in message and "--workers" in message
