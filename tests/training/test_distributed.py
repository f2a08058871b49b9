"""Several processes train like one: the same steps, one writer, one end."""

import csv
import os
import signal
import socket
import time
from pathlib import Path

import pytest
import torch
from projects import ROOT, change_params, complete, copy_project, environment, make_shards, run_stage, start_stage, wait_for
from safetensors.torch import load_file
from train_presets import PROCESSES, STEPS, choose_batch
from warm_python import find_script, start_script

from facegan.common.errors import FaceganError
from facegan.training.hardware import choose_hardware
from facegan.training.launcher import check_processes
from presets import VARIANTS, make_small_trainer, measure_difference, run_steps

MODEL = {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "batch"}
FEW_STEPS = {"images": 96, "batch": 16, "precision": "fp32", "progress_images": 48, "lr": 1e-3}


def run_processes(count, script, arguments, folder):
    """Runs a script in several processes of one training, started like by the launcher of a cluster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    names = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = map(str, range(count))
    processes = [start_script(script, arguments, folder, environment(**names, RANK=rank, LOCAL_RANK=rank)) for rank in ranks]
    for process in processes:
        result = complete(process)
        assert result.returncode == 0, result.stderr


def train_both(folder, **train):
    """Returns (losses, weights) of a run in one process and of the same run in two."""
    outcomes = []
    for processes in (1, 2):
        project = copy_project(folder / str(processes), MODEL, **FEW_STEPS | train, processes=processes)
        make_shards(project)
        run_processes(processes, project / "stages/train.py", ["--checkpoint-seconds", "0"], project)
        with (project / "metrics" / "losses.csv").open() as file:
            rows = [[float(value) for value in row.values()] for row in csv.DictReader(file)]
        outcomes.append((torch.tensor(rows), load_file(project / "data" / "model" / "generator.safetensors")))
    return outcomes


@pytest.mark.parametrize(
    "train",
    [
        {"objective": "non_saturating", "penalty": "none"},
        {"objective": "relativistic", "penalty": "r1_r2", "gamma": 1.0, "fresh_batch": True},
        {"objective": "hinge", "penalty": "r1", "gamma": 1.0, "penalty_interval": 2, "lr": 1e-4},
    ],
    ids=["batch norm", "both penalties through batch norm", "a lazy penalty"],
)
def test_two_processes_equal_one_step_for_step(tmp_path, train):
    (rows, weights), (shared_rows, shared_weights) = train_both(tmp_path, **train)
    assert len(rows) == 6  # every step
    torch.testing.assert_close(shared_rows, rows, rtol=2e-3, atol=2e-4)
    for name, value in weights.items():
        torch.testing.assert_close(shared_weights[name], value, rtol=5e-3, atol=5e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The results of four processes for each kind of preset."""
    out = tmp_path_factory.mktemp("shared") / "outcomes.pt"
    run_processes(PROCESSES, Path(__file__).with_name("train_presets.py"), [str(out)], ROOT)
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize(("preset", "labelled"), VARIANTS)
def test_four_processes_train_each_kind_of_preset_like_one(preset, labelled, shared):
    """Including noise, dropout, augmentation and groups of neighbours, which are drawn for the full batch."""
    trainer = make_small_trainer(preset, choose_hardware("cpu", "fp32"), choose_batch(preset), labelled=labelled)
    expected, found = run_steps(trainer, STEPS), shared["outcomes"][preset, labelled]
    assert measure_difference(expected, found) < 2e-3
    torch.testing.assert_close(found["sums"], expected["sums"], rtol=1e-4, atol=1e-4)


def test_processes_wait_for_a_slow_one(shared):
    """For example, one that downloads weights. The launcher detects dead processes."""
    assert 10 * 60 <= shared["timeout_seconds"] <= 30 * 60


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="requires a machine without a GPU")
@pytest.mark.parametrize(("device", "message"), [("cuda", r"CUDA GPU .*\(0\); found 2"), ("mps", "expected 1 on an Apple GPU")])
def test_more_processes_than_gpus_are_rejected(device, message, tmp_path):
    with pytest.raises(FaceganError, match=message):
        check_processes(2, device)
    project = copy_project(tmp_path, device=device, processes=2)
    result = run_stage(project, "train")
    assert result.returncode == 1
    assert result.stderr.startswith("error: train.processes: expected")
    assert result.stderr.count("\n") == 1


def test_processes_on_a_cpu_are_not_limited():
    check_processes(1000, "cpu")


def find_ranks(parent: int) -> list[int]:
    """Returns the ids of the processes that a launcher started, in order of rank."""
    with open(f"/proc/{parent}/task/{parent}/children") as file:
        children = [int(child) for child in file.read().split()]
    return [child for child in children if b"RANK=" in open(f"/proc/{child}/environ", "rb").read()]


def start_and_wait(project, images, **environment):
    """Starts training. Returns the process when the picture after this number of images is written."""
    process = start_stage(project, "train", **environment)
    wait_for(lambda: any((project / ".checkpoints").glob(f"*/progress/{images:010d}.png")), process)
    return process


def test_dead_process_stops_all_and_one_process_resumes(tmp_path):
    project = copy_project(tmp_path, MODEL, images=100_000, batch=16, processes=2, progress_images=160)
    make_shards(project)
    process = start_and_wait(project, 320)
    ranks = find_ranks(find_script(process))
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "rank 1 on " in err and "signal 9" in err and err.count("\n") == 1 and "the same command resumes" in err
    assert not any(os.path.exists(f"/proc/{rank}") for rank in ranks)
    change_params(project, processes=1)
    again = start_and_wait(project, 800)
    again.send_signal(signal.SIGTERM)
    out, _ = again.communicate(timeout=60)
    assert again.returncode == 143
    assert "resumed at" in out


def test_signal_to_the_launcher_stops_all_with_a_checkpoint(tmp_path):
    project = copy_project(tmp_path, MODEL, images=100_000, batch=16, processes=2, progress_images=160)
    make_shards(project)
    process = start_and_wait(project, 320)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert out.count("the same command resumes") == 1


def test_a_hanging_process_is_named(tmp_path):
    project = copy_project(tmp_path, MODEL, images=100_000, batch=16, processes=2, progress_images=160)
    make_shards(project)
    process = start_and_wait(project, 320, FACEGAN_ANSWER_SECONDS="2")
    ranks = find_ranks(find_script(process))
    os.kill(ranks[1], signal.SIGSTOP)
    time.sleep(6)
    os.kill(ranks[1], signal.SIGCONT)
    os.kill(find_script(process), signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert out.count("rank 1 on ") == 1 and "has not answered for" in out
