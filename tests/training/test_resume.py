"""A training process that is killed or interrupted at any instant resumes and ends with byte-identical results.

FACEGAN_KILLS=50 pytest tests/training/test_resume.py -k random -s    # more kills than in the suite
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from projects import copy_project, environment, make_shards, run_stage, start_stage, wait_for

KILLS = int(os.environ.get("FACEGAN_KILLS", "4"))
TRAIN = {"images": 80 * (KILLS + 2)}  # a picture every 80 images, and at most one kill for each


def hash_outcome(project: Path) -> dict[str, str]:
    """Returns the hash of each file that must not depend on interruptions."""
    files = [project / "metrics" / "losses.csv", *(file for file in sorted((project / "data" / "model").rglob("*")) if file.is_file())]
    return {file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def count_pictures(project: Path) -> int:
    return len(list((project / ".checkpoints").glob("*/progress/*.png")))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, str]:
    project = copy_project(tmp_path_factory.mktemp("uninterrupted"), **TRAIN)
    make_shards(project)
    result = run_stage(project, "train")
    assert result.returncode == 0, result.stderr
    states = sorted(path.relative_to(project).parts[2:] for path in project.glob(".checkpoints/**/*.ckpt*"))
    assert states == [("finished", f"{TRAIN['images']:010d}", f"{name}.ckpt") for name in ("good", "state")]
    return hash_outcome(project)


@pytest.fixture
def project(tmp_path) -> Path:
    project = copy_project(tmp_path, **TRAIN)
    make_shards(project)
    return project


def test_kills_at_random_instants_leave_the_same_bytes(project, uninterrupted):
    draw = random.Random(0)
    kills_while_writing = 0
    for kill in range(KILLS):
        process = start_stage(project, "train")
        pictures = count_pictures(project)
        wait_for(lambda before=pictures: count_pictures(project) > before, process)
        if kill % 2:  # while a checkpoint is being written
            wait_for(lambda: any((project / ".checkpoints").glob("*/state.next.ckpt*")), process)
        else:
            time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "training ended before it was killed"
        kills_while_writing += any((project / ".checkpoints").glob("*/*.part"))
    print(f"{KILLS} kills, {kills_while_writing} of them while a file was being written")
    assert kills_while_writing
    assert run_stage(project, "train").returncode == 0
    assert hash_outcome(project) == uninterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_saves_a_checkpoint_and_explains_how_to_resume(project, uninterrupted, number):
    process = start_stage(project, "train")
    wait_for(lambda: count_pictures(project) > 2, process)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "the same command resumes" in out
    assert "resumed at" in run_stage(project, "train").stdout
    assert hash_outcome(project) == uninterrupted


def test_training_stops_if_dvc_is_killed(project, uninterrupted):
    script = "import subprocess, sys; subprocess.Popen([sys.executable, 'stages/train.py']).wait()"
    output = {"stdout": subprocess.PIPE, "text": True}
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=project, env=environment(DVC_STAGE="train"), **output)
    wait_for(lambda: count_pictures(project) > 2, parent)
    parent.kill()
    out, _ = parent.communicate(timeout=60)  # returns when the orphan has closed its output too
    assert "the same command resumes" in out
    assert not (project / "data" / "model").exists()
    assert run_stage(project, "train").returncode == 0
    assert hash_outcome(project) == uninterrupted
