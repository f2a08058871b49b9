"""All that a CUDA GPU changes, on a simulated one: microbatches that fit, captures, checkpoints, pictures, quick scores, scoring.

The tests of steps are in test_cuda_graph.py and test_capturable.py.
"""

import json
import runpy
import sys
from concurrent.futures import Executor, Future
from unittest import mock

import pytest
import torch
import yaml
from import_closure import ROOT
from projects import make_shards
from simulated_cuda import MEMORY, simulated_cuda

from facegan.common.labels import Column
from facegan.models.checkpoint_file import read_checkpoint
from facegan.training import data
from facegan.training.hardware import Hardware, choose_hardware
from facegan.training.launcher import check_processes
from facegan.training.microbatch import RESERVE, fit
from facegan.training.processes import World
from presets import change, make_small_trainer

CUDA = torch.device("cuda")


class SameThread(Executor):
    """Runs work at once."""

    def submit(self, work, *arguments):
        result = Future()
        result.set_result(work(*arguments))
        return result


@pytest.fixture
def gpu():
    with simulated_cuda():
        yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def run_stage(monkeypatch, name, *arguments):
    """Runs a stage in this process."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    monkeypatch.syspath_prepend(ROOT / "stages")
    runpy.run_path(str(ROOT / f"stages/{name}.py"), run_name="__main__")


def test_stages_train_and_score(gpu, tmp_path, monkeypatch, capsys):
    make_shards(tmp_path, count=60)
    monkeypatch.setattr("facegan.training.loop.QUICK_SCORE_IMAGES", 20)
    shards, model = tmp_path / "data/shards", tmp_path / "data/model"
    train = {"images": 32, "batch": 8, "progress_images": 16, "score_every_images": 16, "device": "auto", "microbatch": "auto"}
    evaluate = {"images": 20, "memorisation_images": 20}
    values = change("demo", preprocess={"resolution": 32}, model={"width": 16}, train=train, evaluate=evaluate)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    shared = ("--params", tmp_path / "params.yaml", "--shards", shards)
    training = (*shared, "--model", model, "--metrics", tmp_path / "metrics", "--checkpoints", tmp_path / "checkpoints")

    run_stage(monkeypatch, "reference", *shared, "--out", tmp_path / "data/reference")
    run_stage(monkeypatch, "train", *training, "--dry-run")
    assert "cuda, Simulated GPU" in capsys.readouterr().out
    run_stage(monkeypatch, "train", *training, "--checkpoint-seconds", "0")
    values["train"]["images"] = 48
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    run_stage(monkeypatch, "train", *training)
    out = capsys.readouterr().out
    assert "graph" not in out  # no capture failed
    assert "32 images" in out  # the longer run has resumed
    assert json.loads((model / "training.json").read_text())["device"] == "cuda"
    state = read_checkpoint(next(tmp_path.glob("checkpoints/*/finished/*48/state.ckpt")))
    assert state["images_seen"] == 48 and len(state["scores"]) == 3

    model /= "generator.safetensors"
    results = ("--metrics", tmp_path / "evaluate.json", "--out", tmp_path / "data/evaluation")
    run_stage(monkeypatch, "evaluate", *shared, "--model", model, "--reference", tmp_path / "data/reference", *results)
    assert json.loads((tmp_path / "evaluate.json").read_text())["fd_efficientnet_lite0"] > 0
    run_stage(monkeypatch, "sample", "--params", tmp_path / "params.yaml", "--model", model, "--out", tmp_path / "faces", "--count", "2")


@pytest.mark.parametrize(("capacity", "expected"), [(30, 24), (5, 4), (3, None)])  # images whose step fits, of 48 in groups of 4
def test_microbatches_fit_and_nothing_changes(gpu, monkeypatch, capacity, expected):
    per_image = MEMORY / RESERVE / (capacity + 0.5)
    trainer = make_small_trainer("celeba64_stylegan2", Hardware(CUDA, torch.float32), 48)
    before = {name: value.clone() for name, value in trainer.tensors().items()}

    def measure(device):
        if trainer.microbatch * per_image > MEMORY:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return trainer.microbatch * per_image

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", measure)
    if expected is None:
        with pytest.raises(torch.OutOfMemoryError):
            fit(trainer)
    else:
        assert fit(trainer) == expected
    assert all(torch.equal(value, before[name]) for name, value in trainer.tensors().items())
    assert trainer.microbatch == 48 and all(parameter.grad is None for parameter in trainer.generator.parameters())


@pytest.mark.parametrize(("other", "expected"), [(16, 16), (48, 24), (0, None)])  # what the other process can hold
def test_processes_measure_alone_and_agree_on_the_smallest_microbatch(gpu, monkeypatch, other, expected):
    class Two(World):
        def average(self, values):
            raise AssertionError("a collective operation that the other process may not take")

        def agree(self, *decisions):
            return tuple(max(decision, -other) for decision in decisions)

    per_image = MEMORY / RESERVE / 30.5
    trainer = make_small_trainer("celeba64_stylegan2", Hardware(CUDA, torch.float32), 48)
    trainer.world = two = Two(size=2)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: trainer.microbatch * per_image)
    if expected is None:
        with pytest.raises(torch.OutOfMemoryError):
            fit(trainer)
    else:
        assert fit(trainer) == expected
    assert trainer.world is two


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_images_reach_the_gpu(gpu, monkeypatch, share):
    monkeypatch.setattr(data, "SHARE_OF_MEMORY", share)
    images = torch.arange(50, dtype=torch.uint8)[:, None, None, None].expand(50, 3, 4, 4).contiguous()
    labels, columns = torch.arange(50, dtype=torch.uint8)[:, None] % 2, [Column(name="odd", values=("0", "1"), counts=(25, 25))]
    batches = data.Batches(list(images.split(20)), labels, columns, "shuffled", 0, CUDA)
    assert batches.resident == (share > 0)
    if not batches.resident:
        batches.reader = SameThread()  # the simulation does not reach others
    for seen in (0, 45):
        chosen = batches.choose(seen, 10)
        batches.read_ahead(lambda chosen=chosen: [chosen])
        taken = batches.take(chosen)
        assert taken.device.type == "cuda" and taken[:, 0, 0, 0].tolist() == chosen.tolist()
        labels = batches.take_labels(chosen)
        assert labels.device.type == "cuda" and torch.equal(labels[:, 1].cpu(), chosen.cpu() % 2)


def test_hardware_is_chosen(gpu):
    assert choose_hardware("auto", "auto") == Hardware(CUDA, torch.bfloat16)
    with mock.patch.object(torch.cuda, "get_device_capability", lambda: (7, 5)):
        assert choose_hardware("cuda", "auto").precision == torch.float32
    with pytest.raises(Exception, match="at most one per CUDA GPU"):
        check_processes(2, "auto")


def test_a_tensor_of_the_host_among_those_of_the_gpu_is_found(gpu):
    here, there = torch.ones(3), torch.ones(3, device="cuda")
    assert (there.device.type, there.cpu().device.type, here.to("cuda").device.type) == ("cuda", "cpu", "cuda")
    with pytest.raises(RuntimeError, match="same device"):
        here + there
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
