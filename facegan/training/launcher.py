"""Starting several training processes on this machine, and connecting them; torchrun's environment variables work too."""

import datetime
import os
import signal
import socket
import subprocess
import sys
import time

import torch
from torch import distributed

from facegan.common.devices import find_device
from facegan.common.errors import FaceganError
from facegan.common.signals import Interruption
from facegan.training.heartbeat import start_heartbeat, stop_heartbeat
from facegan.training.processes import World

# After this time without an answer from the others, a process gives up. The main process may download weights or write to a slow disk in
# the meantime; the launcher notices a dead process immediately.
TIMEOUT_SECONDS = 20 * 60
LAUNCHED = "FACEGAN_LAUNCHED"  # set in processes that ``launch`` has started
SHUTDOWN_SECONDS = 8  # for the other processes to end after one has died


def join_world(device: torch.device) -> World:
    """Connects to the other processes if there are any, as torchrun's environment variables say."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    timeout = datetime.timedelta(seconds=TIMEOUT_SECONDS)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    check_processes(local_rank + 1, device.type)
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
        distributed.init_process_group("nccl", timeout=timeout)
        control = distributed.new_group(backend="gloo", timeout=timeout)
    else:
        distributed.init_process_group("gloo", timeout=timeout)
        control = None
    world = World(distributed.get_rank(), size, control)
    start_heartbeat(world)
    return world


def leave_world(world: World) -> None:
    """Disconnects from the other processes."""
    if world.size > 1:
        stop_heartbeat()
        distributed.destroy_process_group()


def check_processes(processes: int, device: str) -> None:
    """Raises FaceganError if this machine does not have a device for each process. ``device``: the parameter."""
    device = find_device().type if device == "auto" else device
    if device == "mps" and processes > 1:
        raise FaceganError(f"train.processes: expected 1 on an Apple GPU, which cannot be shared; found {processes}; change it")
    if device == "cuda" and processes > torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise FaceganError(
            f"train.processes: expected at most one per CUDA GPU of this machine ({count}); found {processes}; "
            "lower it, or set train.device to cpu"
        )


def is_launched() -> bool:
    """Returns whether this process was started as one of several, by ``launch`` or by torchrun."""
    return "WORLD_SIZE" in os.environ


def launch(processes: int) -> int:
    """Runs this command in ``processes`` processes on this machine; returns the exit status.

    If one fails, all are ended. A signal is passed on to all of them. Unlike ``torch.distributed.run``, this returns the exit status
    that DVC and shells expect after a signal, prints one line per error, and starts three seconds faster.

    Raises:
        FaceganError: one of the processes died.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), LAUNCHED: "1"}
    shared.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost connection is reported by the launcher, in one line
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    command = [sys.executable, *sys.argv]
    children = [subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(processes)]
    with Interruption() as interruption:
        passed_on, failed = False, []
        while any(child.poll() is None for child in children):
            if interruption.signal and not passed_on:
                signal_all(children, interruption.signal)
                passed_on = True
            failed = [rank for rank, child in enumerate(children) if child.poll() not in (None, 0)]
            if failed:
                break
            time.sleep(0.05)
        statuses = end_all(children)
    if interruption.signal:
        return 128 + interruption.signal
    failed = failed or [rank for rank, status in enumerate(statuses) if status]
    if failed:
        ends = " and ".join(describe_end(rank, statuses[rank]) for rank in failed)
        raise FaceganError(f"expected {processes} processes to train to the end; found that {ends}; the same command resumes")
    return 0


def describe_end(rank: int, status: int) -> str:
    """Returns how a process has ended."""
    name = f"rank {rank} on {socket.gethostname()}"
    if status == -signal.SIGKILL:
        return f"{name} was killed (signal 9), as the system does when memory runs out"
    return f"{name} was ended by signal {-status}" if status < 0 else f"{name} exited with status {status} (its error is above)"


def is_lost_connection(error: RuntimeError) -> bool:
    """Returns whether an error means that another process has ended or cannot be reached."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower() or "NCCL" in str(error)


def signal_all(children: list[subprocess.Popen], number: int) -> None:
    """Sends a signal to every running process."""
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def end_all(children: list[subprocess.Popen]) -> list[int]:
    """Waits for the processes to end, kills those that do not, and returns their exit statuses."""
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while any(child.poll() is None for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in children:
        if child.poll() is None:
            child.kill()
    return [child.wait() for child in children]
