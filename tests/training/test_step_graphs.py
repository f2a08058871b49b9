"""If a step cannot be captured as a CUDA graph, training continues eagerly with the same result.

No GPU is needed: without one, PyTorch's own capture fails; the other failures happen at the end of a simulated capture, after warm-up
steps have changed everything.
"""

import contextlib

import pytest
import torch

from facegan.training.hardware import Hardware, choose_hardware
from presets import make_small_trainer, run_steps

CPU = choose_hardware("cpu", "fp32")
PRESET = "celeba64_stylegan2"  # with and without a penalty, and with random numbers of every kind


class Captured(Hardware):
    """A CPU on which steps should be captured."""

    uses_graph = True


class Stream:
    def wait_stream(self, other):
        pass


class Graph:
    def register_generator_state(self, generator):
        pass

    def pool(self):
        return None


@contextlib.contextmanager
def broken_capture(graph, pool, capture_error_mode):
    """Runs the code to capture and then fails, as CUDA does if the code waited for the host."""
    yield
    raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nCompile with TORCH_USE_CUDA_DSA")


@pytest.fixture
def break_capture(monkeypatch):
    """Replaces CUDA's streams and graphs by ones without effect, and the capture by the given one."""

    def replace(capture):
        monkeypatch.setattr(torch.cuda, "Stream", Stream)
        monkeypatch.setattr(torch.cuda, "current_stream", Stream)
        monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", capture)

    return replace


def train(hardware):
    trainer = make_small_trainer(PRESET, hardware, 4)
    return run_steps(trainer, 3), trainer


def assert_equal(found, expected):
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_failed_capture_changes_nothing(break_capture, capsys):
    expected, _ = train(CPU)
    break_capture(broken_capture)
    found, trainer = train(Captured(CPU.device, CPU.precision))
    assert_equal(found, expected)
    assert trainer.graphs.problem
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    assert "operation failed due to a previous error during capture" in printed


def test_failure_in_the_middle_of_a_captured_step_leaves_no_gradients(break_capture):
    expected, _ = train(CPU)

    @contextlib.contextmanager
    def interrupted(graph, pool, capture_error_mode):
        average, calls = trainer.world.__class__.average_gradients, []

        def fail(world, parameters):
            calls.append(1)
            if len(calls) == 2:  # after the update of the discriminator, with gradients of the generator
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
            average(world, parameters)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(trainer.world.__class__, "average_gradients", fail)
            yield

    break_capture(interrupted)
    trainer = make_small_trainer(PRESET, Captured(CPU.device, CPU.precision), 4)
    assert_equal(run_steps(trainer, 3), expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the capture would succeed")
def test_failed_capture_without_a_gpu_changes_nothing(capsys):
    expected, _ = train(CPU)
    found, trainer = train(Captured(CPU.device, CPU.precision))
    assert_equal(found, expected)
    assert trainer.graphs.problem
    assert "could not be captured" in capsys.readouterr().out


def test_too_little_memory_during_capture_is_raised(break_capture):
    """Without a graph, memory would not suffice either."""

    @contextlib.contextmanager
    def full(graph, pool, capture_error_mode):
        yield
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    break_capture(full)
    with pytest.raises(torch.OutOfMemoryError):
        train(Captured(CPU.device, CPU.precision))


def test_graphs_can_be_disabled():
    assert not Hardware(torch.device("cuda"), torch.bfloat16, allows_graph=False).uses_graph
    assert Hardware(torch.device("cuda"), torch.bfloat16).uses_graph
    assert not choose_hardware("cpu", "fp32", "auto").uses_graph
    assert not choose_hardware("cpu", "fp32", "off").allows_graph
