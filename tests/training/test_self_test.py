"""The self-test's verdicts: on a CPU, on a simulated GPU, and with planted faults."""

import contextlib
import itertools

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

FORWARD, CALLS = Discriminator.forward, itertools.count(1)


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


def wait(*arguments):
    logits = FORWARD(*arguments)
    assert logits.sum().item() < float("inf")
    return logits


def fail(*arguments):
    raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")


@pytest.mark.parametrize(
    ("forward", "works", "problem"),
    [
        (lambda *arguments: FORWARD(*arguments) * (1 + next(CALLS) / 100), "does not work", "differs by up to"),
        (lambda *arguments: FORWARD(*arguments) * float("nan"), "does not work", "is not finite"),
        (wait, "works, but slower", "operation not permitted when stream is capturing"),
        (fail, "does not work", "does not work: CUDA error: an illegal memory access was encountered"),
    ],
    ids=["differs from its graph", "not finite", "failed capture", "error of the device"],
)
def test_a_fault_is_found(monkeypatch, capsys, forward, works, problem):
    monkeypatch.setattr(Discriminator, "forward", forward)
    verdict, text = examine(monkeypatch, capsys)
    assert verdict.startswith(works) and problem in verdict and "from graphs:" not in text


@pytest.mark.parametrize("rank", [None, "1"], ids=["one process", "one of two"])
def test_a_process_that_hangs_is_found(tmp_path, rank):
    script = tmp_path / "train.py"
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(ROOT / "stages")!r})
import command
import facegan.training.self_test as module
from facegan.training.trainer import Trainer
module.ROUND_SECONDS, module.CPU_BATCH, module.LIMIT_SECONDS = 0.0, 4, {8.0 if rank else 1.0}
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
