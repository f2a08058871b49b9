"""The dry run: its estimates, and that it writes nothing."""

import pytest
import torch
from projects import change_params, copy_project, make_shards, run_stage

from facegan.common.progress import describe_seconds
from facegan.training.dry_run import AFFORDABLE_SECONDS, MEASURED_STEPS, WARM_UP_STEPS, choose_batch


def find_files(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory):
    """A copy of the project, its files before a dry run, and the result of the dry run."""
    project = copy_project(tmp_path_factory.mktemp("dry_run"), penalty="r1", gamma=1.0, penalty_interval=4)
    make_shards(project)
    before = find_files(project)
    return project, before, run_stage(project, "train", "--dry-run")


def test_estimates_are_printed(dry_run):
    _, _, result = dry_run
    assert result.returncode == 0, result.stderr
    lines = (line.split(":", 1) for line in result.stdout.splitlines() if ":" in line)
    printed = {name: text.strip() for name, text in lines}
    # width 8 at 32 px: convolutions 100·32·16 + 32·16·16 + 16·8·16 + 8·3·16 and batch norms 2·(32 + 16 + 8);
    # 3·8·16 + 8 + 8·16·16 + 16 + 16·32·16 + 32 + 32·16 + 1
    assert printed["model"] == "dcgan at 32 px; generator 61,936 parameters, discriminator 11,193"
    assert printed["images"] == "960, of 108 different ones (8.9 epochs)"
    assert printed["steps"] == "60 of 16 images"
    assert printed["device"] == "cpu, 1 threads"
    assert printed["precision"] in ("float32", "bfloat16")
    assert "with a penalty" in printed["step"]
    assert printed["other"].startswith("13 pictures")
    assert {"time", "memory"} <= printed.keys()


def test_nothing_is_written(dry_run):
    project, before, _ = dry_run
    assert find_files(project) == before


def test_no_data_is_needed(tmp_path):
    project = copy_project(tmp_path)
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "grey images are used" in result.stdout and "dcgan at 32 px; generator 61,936 parameters, discriminator 11,193" in result.stdout
    assert not (project / "data").exists()


def test_parameters_are_checked(tmp_path):
    project = copy_project(tmp_path)
    change_params(project, "preprocess", resolution=40)
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "found 40" in result.stderr


def test_slow_or_large_steps_are_estimated_from_a_smaller_batch():
    cpu = torch.device("cpu")
    affordable = AFFORDABLE_SECONDS / (WARM_UP_STEPS + MEASURED_STEPS)
    assert choose_batch(64, 2, affordable / 1000, cpu, 1.0) == 64
    assert choose_batch(256, 2, affordable / 20.5, cpu, 1.0) == 40
    assert choose_batch(256, 2, 2 * affordable, cpu, 1.0) == 2


@pytest.mark.parametrize(("seconds", "text"), [(9.6, "10 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (7260, "2 h 1 min")])
def test_times_are_printed_in_their_largest_units(seconds, text):
    assert describe_seconds(seconds) == text
