"""A run killed at any instant goes on, with the same command, to the same bytes.

FACEGAN_KILLS=50 pytest tests/training/test_resume.py -k random -s    # more kills than the suite has time for
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
from projects import change_params, copy_project, environment, make_shards, run_stage, start_stage

from facegan.models.checkpoint_file import FORMAT

KILLS = int(os.environ.get("FACEGAN_KILLS", "10"))
ENOUGH = {"images": 80 * (KILLS + 2)}  # a picture every 80 images, and at most one kill for each


def hash_outcome(project: Path) -> dict[str, str]:
    """Returns the hash of every file that must not depend on how often a run was killed."""
    files = [project / "metrics" / "losses.csv", *(file for file in sorted((project / "data" / "model").rglob("*")) if file.is_file())]
    return {file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def find_run(project: Path) -> Path:
    """Returns the folder of the copy's only unfinished run."""
    (run,) = (path for path in (project / ".checkpoints").iterdir() if path.is_dir())
    return run


def wait_for(condition, process, seconds: float = 300) -> None:
    """Waits until the condition holds, or the process has ended."""
    deadline = time.monotonic() + seconds
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.001)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    project = copy_project(tmp_path_factory.mktemp("uninterrupted"), **ENOUGH)
    make_shards(project)
    result = run_stage(project, "train")
    assert result.returncode == 0, result.stderr
    return project, hash_outcome(project)


@pytest.fixture
def project(tmp_path) -> Path:
    project = copy_project(tmp_path, **ENOUGH)
    make_shards(project)
    return project


def interrupt(project: Path, number: int = signal.SIGKILL, images: int = 320, **extra: str):
    """Starts training, sends the signal once it has drawn the picture after so many images, and waits for its end."""
    process = start_stage(project, "train", **extra)
    wait_for(lambda: any((project / ".checkpoints").glob(f"*/progress/{images:010d}.png")), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_kills_at_random_instants_leave_the_same_bytes(project, uninterrupted):
    draw = random.Random(0)
    kills = kills_while_writing = 0
    while kills < KILLS:
        process = start_stage(project, "train")
        pictures = len(list((project / ".checkpoints").glob("*/progress/*.png")))
        wait_for(lambda before=pictures: len(list((project / ".checkpoints").glob("*/progress/*.png"))) > before, process)
        if kills % 2:  # while a checkpoint is being written
            wait_for(lambda: any((project / ".checkpoints").glob("*/state.next.ckpt*")), process)
        else:
            time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        kills += 1
        kills_while_writing += any((project / ".checkpoints").glob("*/*.part"))
    print(f"{kills} kills, {kills_while_writing} of them while a file was being written")
    assert kills_while_writing
    assert run_stage(project, "train").returncode == 0
    assert hash_outcome(project) == uninterrupted[1]


def test_success_leaves_the_state_of_its_end_alone(uninterrupted):
    run = find_run(uninterrupted[0])
    states = [path.relative_to(run).as_posix() for path in sorted(run.rglob("*.ckpt*"))]
    assert states == [f"finished/{ENOUGH['images']:010d}/{name}.ckpt" for name in ("good", "state")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(project, uninterrupted, number):
    status, out, _ = interrupt(project, number)
    assert status == 128 + number
    assert "the same command goes on" in out
    result = run_stage(project, "train")
    assert "resumed at" in result.stdout
    assert hash_outcome(project) == uninterrupted[1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[: len(content) // 2], "torn"),
        (lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:], "torn"),
        (lambda content: b"PK\x03\x04 of another program" + content, "something else"),
        (lambda content: content.replace(FORMAT, b"facegan checkpoint 3\n", 1), "facegan checkpoint 3"),
    ],
    ids=["truncated", "flipped bit", "foreign", "newer version"],
)
def test_a_spoilt_checkpoint_is_passed_over(project, uninterrupted, damage, message):
    interrupt(project)
    state = find_run(project) / "state.ckpt"
    state.write_bytes(damage(state.read_bytes()))
    result = run_stage(project, "train")
    assert message in result.stdout
    assert "resumed at" in result.stdout  # from the one before
    assert hash_outcome(project) == uninterrupted[1]


def test_changed_parameters_start_afresh_and_say_so(project):
    interrupt(project)
    change_params(project, lr=1e-4)
    result = run_stage(project, "train")
    assert result.returncode == 0
    assert "parameters differ from the unfinished run" in result.stdout
    assert "resumed" not in result.stdout


def test_changed_code_starts_afresh_and_says_so(project):
    interrupt(project)
    with (project / "facegan" / "training" / "losses.py").open("a") as file:
        file.write("# changed\n")
    assert "code differ from the unfinished run" in run_stage(project, "train").stdout


def test_changed_data_starts_afresh_and_says_so(project):
    interrupt(project)
    make_shards(project, seed=1)
    assert "data differ from the unfinished run" in run_stage(project, "train").stdout


def test_how_often_to_save_may_change(project, uninterrupted):
    interrupt(project)
    assert "resumed at" in run_stage(project, "train", "--checkpoint-seconds", "7").stdout
    assert hash_outcome(project) == uninterrupted[1]


def test_a_training_whose_dvc_died_stops_by_itself(project, uninterrupted):
    script = "import subprocess, sys; subprocess.Popen([sys.executable, 'stages/train.py']).wait()"
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=project, env=environment(DVC_STAGE="train"), stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: any((project / ".checkpoints").glob(f"*/progress/{320:010d}.png")), parent)
    parent.kill()
    out, _ = parent.communicate(timeout=60)  # ends when the orphan has closed its output too
    assert "the same command goes on" in out
    assert not (project / "data" / "model").exists()
    assert run_stage(project, "train").returncode == 0
    assert hash_outcome(project) == uninterrupted[1]


def test_exploding_numbers_go_back_a_few_times_then_stop(tmp_path):
    project = copy_project(tmp_path, model={"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "batch"}, lr=1e30)
    make_shards(project)
    result = run_stage(project, "train")
    assert result.returncode == 1
    assert "with another draw (3 of at most 3)" in result.stdout
    assert "expected finite losses" in result.stderr
    assert "lower train.lr" in result.stderr
