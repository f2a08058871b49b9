"""If a step cannot be captured as a CUDA graph, training continues eagerly with the same result."""

import contextlib
from unittest import mock

import pytest
import torch
from simulated_cuda import simulated_cuda

from facegan.training.hardware import Hardware, choose_hardware
from facegan.training.processes import World
from presets import make_small_trainer, run_steps

CPU, CUDA = choose_hardware("cpu", "fp32"), torch.device("cuda")
PRESET = "celeba64_stylegan2"  # with and without a penalty, and with random numbers of every kind
ERROR = "CUDA error: operation failed due to a previous error during capture"


class Captured(Hardware):
    """A CPU on which steps should be captured."""

    uses_graph = True


@contextlib.contextmanager
def fail_at_the_end(*arguments, **options):
    """As CUDA does if the code waited for the host."""
    yield
    raise RuntimeError(f"{ERROR}\nCompile with TORCH_USE_CUDA_DSA")


@contextlib.contextmanager
def fail_in_the_middle(*arguments, **options):
    """After the update of the discriminator, with gradients of the generator."""
    average, calls = World.average_gradients, []

    def fail(world, parameters):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError(ERROR)
        average(world, parameters)

    with mock.patch.object(World, "average_gradients", fail):
        yield


@contextlib.contextmanager
def exceed_memory(*arguments, **options):
    yield
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def compare(*hardware: Hardware) -> str:
    """Runs steps eagerly and with a failing capture. Asserts the same result, and returns why steps were not captured."""
    eager, captured = (make_small_trainer(PRESET, each, 4) for each in hardware)
    expected, found = run_steps(eager, 3), run_steps(captured, 3)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    return captured.graphs.problem


@pytest.mark.parametrize("capture", [fail_at_the_end, fail_in_the_middle])
def test_failed_capture_changes_nothing(capture, capsys):
    with simulated_cuda(), mock.patch.object(torch.cuda, "graph", capture):
        problem = compare(*(Hardware(CUDA, torch.float32, allows_graph) for allows_graph in (False, True)))
    printed = capsys.readouterr().out
    assert ERROR in problem and printed.count("\n") == 1 and ERROR in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the capture would succeed")
def test_failed_capture_without_a_gpu_changes_nothing():
    assert "could not be captured" in compare(CPU, Captured(CPU.device, CPU.precision))


def test_too_little_memory_during_capture_is_raised():
    """Without a graph, memory would not suffice either."""
    with simulated_cuda(), mock.patch.object(torch.cuda, "graph", exceed_memory), pytest.raises(torch.OutOfMemoryError):
        run_steps(make_small_trainer(PRESET, Hardware(CUDA, torch.float32), 4), 1)


def test_graphs_can_be_disabled():
    assert not Hardware(CUDA, torch.bfloat16, allows_graph=False).uses_graph and Hardware(CUDA, torch.bfloat16).uses_graph
    assert not choose_hardware("cpu", "fp32", "auto").uses_graph and not choose_hardware("cpu", "fp32", "off").allows_graph
