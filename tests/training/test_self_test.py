"""The self-test's verdicts: on a CPU, on a simulated GPU, and with planted faults."""

import contextlib

import pytest
import torch
from import_closure import ROOT
from projects import run_script
from simulated_cuda import simulated_cuda

from facegan.models.resnet import Discriminator
from facegan.training import self_test as module
from facegan.training.hardware import Hardware
from facegan.training.self_test import self_test
from presets import read_preset

FORWARD = Discriminator.forward


def examine(monkeypatch, capsys, device="cuda"):
    """Returns the verdict for small networks, and the rest of the output."""
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.0)
    monkeypatch.setattr(module, "BURST_STEPS", 1)
    monkeypatch.setattr(module, "launch", lambda processes: None)
    parameters = read_preset("demo", model={"width": 8}, train={"batch": 4})
    with simulated_cuda() if device == "cuda" else contextlib.nullcontext():
        works = self_test(parameters.model, parameters.train, 32, Hardware(torch.device(device), torch.float32))
    *lines, verdict = capsys.readouterr().out.splitlines()
    assert verdict.startswith("verdict:") and works == verdict.split(maxsplit=1)[1].startswith("works")
    return verdict.split(maxsplit=1)[1], "\n".join(lines)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_it_works_and_describes_the_machine(monkeypatch, capsys, device):
    verdict, text = examine(monkeypatch, capsys, device)
    assert verdict == "works"
    assert ("from graphs:" in text) == (device == "cuda")
    assert torch.__version__ in text and ("Simulated GPU" in text) == (device == "cuda")


def test_a_step_that_differs_from_its_graph_is_found(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(Discriminator, "forward", lambda *arguments: FORWARD(*arguments) * (1 + len(calls.append(1) or calls) / 100))
    verdict, _ = examine(monkeypatch, capsys)
    assert "differs by up to" in verdict and "generator." in verdict


def test_numbers_that_are_not_finite_are_found(monkeypatch, capsys):
    monkeypatch.setattr(Discriminator, "forward", lambda *arguments: FORWARD(*arguments) * float("nan"))
    verdict, _ = examine(monkeypatch, capsys)
    assert verdict.startswith("does not work") and "is not finite" in verdict


def test_a_failed_capture_is_found(monkeypatch, capsys):
    def wait(*arguments):
        logits = FORWARD(*arguments)
        assert logits.sum().item() < float("inf")
        return logits

    monkeypatch.setattr(Discriminator, "forward", wait)
    verdict, text = examine(monkeypatch, capsys)
    assert verdict.startswith("works, but slower") and "operation not permitted when stream is capturing" in verdict
    assert "from graphs:" not in text


def test_an_error_of_the_device_is_found(monkeypatch, capsys):
    def fail(*arguments):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    monkeypatch.setattr(Discriminator, "forward", fail)
    assert examine(monkeypatch, capsys)[0] == "does not work: CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize("rank", [None, "1"], ids=["one process", "one of two"])
def test_a_process_that_hangs_is_found(tmp_path, rank):
    script = tmp_path / "train.py"
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "stages")!r})
import command
import facegan.training.self_test as module
from facegan.training.trainer import Trainer
module.ROUND_SECONDS, module.CPU_BATCH, module.LIMIT_SECONDS = 0.0, 4, {5.0 if rank else 1.0}
if os.environ.get("RANK") == {rank!r}:
    Trainer.train_step = lambda self: time.sleep(60)
exec(open({str(ROOT / "stages/train.py")!r}).read())  # with the arguments of this script, which starts the processes
""")
    result = run_script(script, "--self-test", FACEGAN_ANSWER_SECONDS="1")
    assert result.returncode == 1
    assert "did not end within" in result.stdout
    if rank:
        assert "rank 1 on " in result.stdout and "has not answered" in result.stdout
        assert "does not work: expected 2 processes" in result.stdout
