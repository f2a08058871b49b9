"""Several processes train like one: the same steps, one writer, one end."""

import csv
import os
import signal
from pathlib import Path

import pytest
import torch
from projects import ROOT, change_params, copy_project, make_shards, run_ranks, start_stage, wait_for
from safetensors.torch import load_file
from train_presets import PROCESSES, STEPS, choose_batch
from warm_python import find_script

from facegan.common.errors import FaceganError
from facegan.training.hardware import choose_hardware
from facegan.training.launcher import check_processes
from presets import VARIANTS, make_small_trainer, measure_difference, run_steps

MODEL = {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "batch"}
FEW_STEPS = {"images": 96, "batch": 16, "precision": "fp32", "progress_images": 48, "lr": 1e-3}
FEW_STEPS |= {"objective": "relativistic", "penalty": "r1_r2", "gamma": 1.0, "fresh_batch": True}

LEAVING = f"""
import os, sys, time
os.environ["FACEGAN_ANSWER_SECONDS"] = "0.001"
sys.path.insert(0, {str(ROOT)!r})
import torch
from facegan.training.launcher import join_world, leave_world
world = join_world(torch.device("cpu"))
time.sleep(0.2)
leave_world(world)
"""


def test_two_processes_equal_one_step_for_step(tmp_path):
    """Both penalties through batch norm."""
    outcomes = []
    for processes in (1, 2):
        project = copy_project(tmp_path / str(processes), MODEL, **FEW_STEPS, processes=processes)
        make_shards(project)
        assert not any(result.returncode for result in run_ranks(processes * [project / "stages/train.py"], "--checkpoint-seconds", "0"))
        with (project / "metrics/losses.csv").open() as file:
            rows = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
        outcomes.append((torch.tensor(rows), load_file(project / "data/model/generator.safetensors")))
    (rows, weights), (shared_rows, shared_weights) = outcomes
    assert len(rows) == 6  # every step
    torch.testing.assert_close(shared_rows, rows, rtol=2e-3, atol=2e-4)
    for name, value in weights.items():
        torch.testing.assert_close(shared_weights[name], value, rtol=5e-3, atol=5e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The results of four processes for each kind of preset."""
    out = tmp_path_factory.mktemp("shared") / "outcomes.pt"
    assert not any(result.returncode for result in run_ranks(PROCESSES * [Path(__file__).with_name("train_presets.py")], str(out)))
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize(("preset", "labelled"), VARIANTS)
def test_four_processes_train_each_kind_of_preset_like_one(preset, labelled, shared):
    """Including noise, dropout, augmentation and groups of neighbours, which are drawn for the full batch."""
    trainer = make_small_trainer(preset, choose_hardware("cpu", "fp32"), choose_batch(preset), labelled=labelled)
    expected, found = run_steps(trainer, STEPS), shared[preset, labelled]
    assert measure_difference(expected, found) < 2e-3
    torch.testing.assert_close(found["sums"], expected["sums"], rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="requires a machine without a GPU")
@pytest.mark.parametrize(("device", "message"), [("cuda", r"CUDA GPU .*\(0\); found 2"), ("mps", "expected 1 on an Apple GPU")])
def test_more_processes_than_gpus_are_rejected(device, message):
    check_processes(1000, "cpu")  # not limited
    with pytest.raises(FaceganError, match=rf"^train\.processes: expected.*{message}|{message}"):
        check_processes(2, device)


def find_ranks(parent: int) -> list[int]:
    """Returns the ids of the processes that a launcher started, in order of rank."""
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        children = [int(child) for child in file.read().split()]
    return [child for child in children if b"RANK=" in open(f"/proc/{child}/environ", "rb").read()]


@pytest.fixture
def project(tmp_path):
    """A project that trains in two processes, longer than any test waits."""
    project = copy_project(tmp_path, MODEL, images=100_000, batch=16, processes=2, progress_images=32)
    make_shards(project)
    return project


def start_and_wait(project, images, **environment):
    """Starts training. Returns the process when the picture after this number of images is written."""
    process = start_stage(project, "train", **environment)
    wait_for(lambda: any((project / ".checkpoints").glob(f"*/progress/{images:010d}.png")), process)
    return process


def test_dead_process_stops_all_and_one_process_resumes(project):
    process = start_and_wait(project, 64)
    ranks = find_ranks(find_script(process))
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "rank 1 on " in err and "signal 9" in err and err.count("\n") == 1 and "the same command resumes" in err
    assert not any(os.path.exists(f"/proc/{rank}") for rank in ranks)
    change_params(project, processes=1)
    again = start_and_wait(project, 640)
    again.send_signal(signal.SIGTERM)
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 143
    assert "resumed at" in out


def test_signal_to_the_launcher_stops_all_with_a_checkpoint(project):
    process = start_and_wait(project, 64)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert out.count("the same command resumes") == 1


def test_processes_end_without_errors(tmp_path):
    """Their heartbeats are frequent here, so that some of them are under way at the end."""
    script = tmp_path / "stages/leave.py"
    script.parent.mkdir()
    script.write_text(LEAVING)
    for _ in range(3):
        results = run_ranks([script, script])
        assert [(result.returncode, result.stderr) for result in results] == [(0, ""), (0, "")]


def test_a_hanging_process_is_named(project):
    process = start_and_wait(project, 64, FACEGAN_ANSWER_SECONDS="1")
    ranks = find_ranks(find_script(process))
    os.kill(ranks[1], signal.SIGSTOP)
    assert next(line for line in process.stdout if "has not answered for" in line).startswith("rank 1 on ")
    os.kill(ranks[1], signal.SIGCONT)
    os.kill(find_script(process), signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert "has not answered for" not in out
