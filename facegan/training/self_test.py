"""The self-test: which device this machine trains on, whether a step works there and how fast it is, with a verdict in words.

It trains the networks of the parameters on random images for some seconds: without and with CUDA graphs, in one process and in one for each
GPU. The output is what a report of a problem should contain.
"""

import contextlib
import dataclasses
import os
import platform
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator

import torch

import facegan
from facegan.common.devices import free_memory, measure_peak_memory_mb
from facegan.common.errors import FaceganError, printable
from facegan.models.parameters import ModelParameters
from facegan.training.cuda_graph import find_difference
from facegan.training.dry_run import describe_placeholder
from facegan.training.hardware import Hardware
from facegan.training.launcher import is_launched, join_world, launch, leave_world
from facegan.training.microbatch import fit
from facegan.training.parameters import TrainParameters
from facegan.training.processes import World
from facegan.training.trainer import Trainer

LIMIT_SECONDS = 180.0  # for each part
ROUND_SECONDS, ROUNDS = 1.0, 3
COMPARED_STEPS = 3
CPU_BATCH = 16  # at most, to take seconds
BURST_STEPS = 16  # between clock readings, which wait for the GPU


def self_test(model: ModelParameters, parameters: TrainParameters, resolution: int, hardware: Hardware) -> bool:
    """Prints a description of the machine, a line for each part, and a verdict. Returns whether training works here.

    A part that does not end in time ends the process. In one of several processes, only their common part runs.
    """
    if is_launched():
        world = join_world(hardware.device)
        with time_limit(f"a step in {world.size} processes, in rank {world.rank} on {socket.gethostname()},"):
            trainer = make_trainer(model, parameters, resolution, hardware, world)
            speed = measure_speed(trainer)
        if world.is_main:
            print(f"{f'{world.size} processes:':<14}{speed}", flush=True)
        leave_world(world)
        return True

    for name, text in describe_machine(hardware).items():
        print(f"{name + ':':<14}{text}", flush=True)
    verdict = "works"
    try:
        with time_limit("a step in one process"):
            eager = make_trainer(model, parameters, resolution, dataclasses.replace(hardware, allows_graph=False))
            trainer = make_trainer(model, parameters, resolution, hardware)
            print(f"{'networks:':<14}{model.name} at {resolution} px, batch {trainer.parameters.batch}, microbatch {trainer.microbatch}")
            for _ in range(COMPARED_STEPS):
                eager.train_step()
                trainer.train_step()
            if trainer.graphs and trainer.graphs.problem:
                verdict = f"works, but slower than with a CUDA graph: a step {trainer.graphs.problem}"
            if difference := find_difference(trainer.tensors(), eager.tensors()):
                raise FaceganError(f"expected the same finite numbers from the same {COMPARED_STEPS} steps; found that {difference}")
            print(f"{'eager steps:':<14}{measure_speed(eager)}", flush=True)
            if trainer.graphs and not trainer.graphs.problem:
                print(f"{'from graphs:':<14}{measure_speed(trainer)}", flush=True)
        del eager, trainer
        processes = torch.cuda.device_count() if hardware.device.type == "cuda" else 2 if hardware.device.type == "cpu" else 1
        if processes > 1:
            torch.cuda.empty_cache()
            launch(processes)
    except (FaceganError, RuntimeError) as error:  # RuntimeError: whatever CUDA reports
        verdict = f"does not work: {printable(str(error).strip().splitlines()[0])}"
    print(f"{'verdict:':<14}{verdict}", flush=True)
    return verdict.startswith("works")


def describe_machine(hardware: Hardware) -> dict[str, str]:
    """Returns device, driver, precision, memory and versions, by name."""
    result = {"device": f"cpu, {platform.machine()}, {torch.get_num_threads()} threads"}
    if hardware.device.type != "cpu":
        result = {"device": hardware.device.type}
    if hardware.device.type == "cuda":
        capability = ".".join(map(str, torch.cuda.get_device_capability()))
        result = {"device": f"{torch.cuda.device_count()} × {torch.cuda.get_device_name()}, capability {capability}", "driver": "unknown"}
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
            result["driver"] = subprocess.run(query, capture_output=True, text=True, timeout=30).stdout.partition("\n")[0] or "unknown"
    precision = str(hardware.precision).removeprefix("torch.")
    versions = (
        f"facegan {facegan.__version__}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    )
    system = f"Python {platform.python_version()}, {platform.platform()}"
    return result | {
        "precision": precision,
        "memory": f"{free_memory(hardware.device) / 1e9:.1f} GB free",
        "versions": versions,
        "system": system,
    }


def make_trainer(
    model: ModelParameters,
    parameters: TrainParameters,
    resolution: int,
    hardware: Hardware,
    world: World = World(),  # noqa: B008
) -> Trainer:
    """Returns a trainer on random images, with microbatches that fit; on a CPU with a small batch."""
    batch = parameters.batch if hardware.device.type == "cuda" else min(parameters.batch, CPU_BATCH)
    unit = world.size * parameters.penalty_stride
    batch = max(unit, batch - batch % unit)
    changes = {"batch": batch, "score_every_images": None, "start_from": None}
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (4 * batch, 3, resolution, resolution), generator=random, dtype=torch.uint8)
    trainer = Trainer(describe_placeholder(images), [images], model, parameters.model_copy(update=changes), hardware, world)
    if hardware.device.type == "cuda" and parameters.microbatch == "auto":
        trainer.set_microbatch(fit(trainer))
    return trainer


def measure_speed(trainer: Trainer) -> str:
    """Returns the time of a step, penalties included, and the peak memory, as text."""
    times = [time_steps(trainer, ROUND_SECONDS) for _ in range(ROUNDS)]
    rates = [trainer.parameters.batch / each for each in times]
    spread = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) images per second"
    return f"{statistics.median(times) * 1000:,.2f} ms per step, {spread}, {measure_peak_memory_mb(trainer.hardware.device):,.0f} MB"


def time_steps(trainer: Trainer, seconds: float) -> float:
    """Trains for about the given time, in all processes for as many steps; returns the seconds per step, penalties at their interval."""
    period = BURST_STEPS * trainer.game.penalty_interval if trainer.hardware.device.type == "cuda" else trainer.game.penalty_interval
    start, steps, is_over = time.perf_counter(), 0, False
    while not is_over:
        for _ in range(period):
            trainer.train_step()
        if trainer.hardware.device.type == "cuda":
            torch.cuda.synchronize()
        steps += period
        is_over = bool(trainer.world.agree(int(time.perf_counter() - start >= seconds))[0])
    return (time.perf_counter() - start) / steps


@contextlib.contextmanager
def time_limit(what: str) -> Iterator[None]:
    """Ends this process with a verdict if the block takes more than ``LIMIT_SECONDS``, whatever it waits for."""

    def end() -> None:
        print(f"{'verdict:':<14}does not work: {what} did not end within {LIMIT_SECONDS:.0f} s", flush=True)
        os._exit(1)

    timer = threading.Timer(LIMIT_SECONDS, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
