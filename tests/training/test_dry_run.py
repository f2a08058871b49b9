"""The dry run: what it prints, and that it writes nothing."""

import os
import stat

import pytest
import torch
from projects import change_params, copy_project, make_shards, run_stage

from facegan.common.progress import describe_seconds
from facegan.training.dry_run import AFFORDABLE_SECONDS, MEASURED_STEPS, WARM_UP_STEPS, choose_batch

CPU = torch.device("cpu")


def list_files(project):
    """Returns all files but Python's byte code, with the times of their last changes."""
    return {path: path.stat().st_mtime_ns for path in project.rglob("*") if path.is_file() and "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory):
    """A copy of the project that is not writable, and the finished dry run in it."""
    project = copy_project(tmp_path_factory.mktemp("dry_run"), penalty="r1", gamma=1.0, penalty_interval=4)
    make_shards(project, labelled=True)
    before = list_files(project)
    os.chmod(project, stat.S_IRUSR | stat.S_IXUSR)
    return project, before, run_stage(project, "train", "--dry-run")


def test_it_describes_the_run(dry_run):
    _, _, result = dry_run
    assert result.returncode == 0, result.stderr
    lines = dict(line.split(":", 1) for line in result.stdout.splitlines() if ":" in line)
    lines = {name: text.strip() for name, text in lines.items()}
    # width 8 at 32 px: convolutions 100·32·16 + 32·16·16 + 16·8·16 + 8·3·16 and batch norms 2·(32 + 16 + 8);
    # 3·8·16 + 8 + 8·16·16 + 16 + 16·32·16 + 32 + 32·16 + 1; and two values of a label to 32·4·4 features in both
    assert lines["model"] == "dcgan at 32 px; generator 62,960 parameters, discriminator 12,217"
    assert lines["images"] == "960, of 108 different ones (8.9 epochs)"
    assert lines["steps"] == "60 of 16 images"
    assert lines["device"] == "cpu, 1 threads"
    assert lines["precision"] in ("float32", "bfloat16")
    assert "with a penalty" in lines["step"]
    assert lines["other"].startswith("13 pictures")
    assert {"time", "memory"} <= lines.keys()


def test_it_writes_nothing(dry_run):
    project, before, _ = dry_run
    assert list_files(project) == before


def test_the_parameters_decide_the_resolution(tmp_path):
    """Shards of another resolution are ignored, and without shards placeholders are used."""
    project = copy_project(tmp_path)
    make_shards(project, resolution=64)
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "no shards of 32 px" in result.stdout and "dcgan at 32 px" in result.stdout


def test_a_run_that_cannot_start_is_rejected(tmp_path):
    project = copy_project(tmp_path)
    change_params(project, "preprocess", resolution=40)
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 1 and "Traceback" not in result.stderr and "32, 64, 128 or 256" in result.stderr


def test_a_smaller_batch_is_measured_if_steps_are_slow():
    steps = WARM_UP_STEPS + MEASURED_STEPS
    assert choose_batch(64, 2, pilot_seconds=1e-4, device=CPU, pilot_memory_mb=1) == 64
    assert choose_batch(256, 2, pilot_seconds=AFFORDABLE_SECONDS / steps / 20.5, device=CPU, pilot_memory_mb=1) == 40
    assert choose_batch(256, 4, pilot_seconds=100, device=CPU, pilot_memory_mb=1) == 4


@pytest.mark.parametrize(("seconds", "text"), [(9.6, "10 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (7260, "2 h 1 min")])
def test_times_have_two_units(seconds, text):
    assert describe_seconds(seconds) == text
