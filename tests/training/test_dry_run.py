"""The dry run: what it says, and that it leaves nothing behind."""

import pytest
import torch
from projects import change_params, copy_project, make_shards, run_stage

from facegan.training.data import free_memory
from facegan.training.dry_run import (
    FEWEST_STEPS,
    LONGEST_SECONDS,
    WARM_UP_STEPS,
    Costs,
    Plan,
    choose_batch,
    describe_seconds,
    predict_seconds,
)


def find_files(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def dry_run(tmp_path_factory):
    """A copy of the project, the files in it before a dry run, and what the dry run said."""
    project = copy_project(tmp_path_factory.mktemp("dry_run"), penalty="r1", gamma=1.0, penalty_interval=4)
    make_shards(project)
    before = find_files(project)
    return project, before, run_stage(project, "train", "--dry-run")


def test_it_tells_what_would_happen(dry_run):
    _, _, result = dry_run
    assert result.returncode == 0, result.stderr
    told = dict(line.split(":", 1) for line in result.stdout.splitlines() if ":" in line)
    told = {name: text.strip() for name, text in told.items()}
    # width 8 at 32 px: convolutions 100·32·16 + 32·16·16 + 16·8·16 + 8·3·16 and batch norms 2·(32 + 16 + 8);
    # 3·8·16 + 8 + 8·16·16 + 16 + 16·32·16 + 32 + 32·16 + 1
    assert told["model"] == "dcgan at 32 px; generator 61,936 parameters, discriminator 11,193"
    assert told["images"] == "960, of 108 different ones (8.9 epochs)"
    assert told["steps"] == "60 of 16 images"
    assert told["device"] == "cpu, 1 threads"
    assert told["precision"] in ("float32", "bfloat16")
    assert "with a penalty" in told["a step"]
    assert told["besides"].startswith("13 pictures")
    assert {"time", "memory"} <= told.keys()


def test_it_leaves_nothing_behind(dry_run):
    project, before, _ = dry_run
    assert find_files(project) == before


def test_it_needs_no_data(tmp_path):
    project = copy_project(tmp_path)
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "not there yet" in result.stdout and "dcgan at 32 px; generator 61,936 parameters, discriminator 11,193" in result.stdout
    assert not (project / "data").exists()


def test_what_stops_a_run_stops_its_dry_run(tmp_path):
    project = copy_project(tmp_path)
    change_params(project, "preprocess", resolution=40)
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "expected a resolution of 32, 64, 128 or 256; found 40" in result.stderr


def test_a_batch_that_cannot_be_afforded_is_reckoned_from_a_smaller_one():
    cpu = torch.device("cpu")
    assert choose_batch(64, seconds_an_image=1e-4, bytes_an_image=1, device=cpu) == 64
    assert choose_batch(256, seconds_an_image=LONGEST_SECONDS / (WARM_UP_STEPS + FEWEST_STEPS) / 40, bytes_an_image=1, device=cpu) == 32
    assert choose_batch(256, seconds_an_image=100, bytes_an_image=1, device=cpu) == 1
    assert choose_batch(256, seconds_an_image=100, bytes_an_image=1, device=cpu, fewest=4) == 4
    assert choose_batch(256, seconds_an_image=1e-4, bytes_an_image=free_memory(cpu), device=cpu) == 1


def test_the_time_is_the_sum_of_all_there_is_to_do():
    costs = Costs(start=5.0, step=0.1, penalized_step=0.3, picture=2.0, checkpoint=0.5, score=4.0)
    plan = Plan(steps=1000, penalized_steps=100, pictures=3, scores=2)
    work = 5 + 900 * 0.1 + 100 * 0.3 + 3 * (2 + 0.5) + 2 * 4
    assert predict_seconds(costs, plan, checkpoint_seconds=1000) == pytest.approx(work)
    # between two pictures lie 60 seconds of steps: no checkpoint every 20 s, since it costs a hundredth of 50 s; one every 50 s
    assert predict_seconds(costs, plan, checkpoint_seconds=20) == pytest.approx(work + 2 * 0.5)


@pytest.mark.parametrize(("seconds", "text"), [(9.6, "10 s"), (61, "1 min 1 s"), (3599.7, "1 h 0 min"), (7260, "2 h 1 min")])
def test_times_are_told_in_their_largest_units(seconds, text):
    assert describe_seconds(seconds) == text
