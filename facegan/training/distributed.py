"""Several processes, one training: who is who, gradients averaged, decisions shared.

Every process holds both networks and sees its share of each batch. After a move they average their gradients in one flat
all-reduce, so all take the same step. That is exact with gradient penalties, which DistributedDataParallel's hooks are not
made for.
"""

import dataclasses
import datetime
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed

from facegan.common.devices import find_device
from facegan.common.errors import FaceganError

# A process that waits longer than this for the others takes them for dead. The first one may have weights to download or a slow
# disk to write to meanwhile; a process that really died is found by the launcher at once.
TIMEOUT_SECONDS = 20 * 60
SHUTDOWN_SECONDS = 8  # what the others get to end in, once one has died


@dataclasses.dataclass(frozen=True)
class World:
    """This process among its children: ``rank`` of ``size``. ``control`` carries decisions, over the network's CPU side."""

    rank: int = 0
    size: int = 1
    control: distributed.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that writes files and talks."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Returns which part of a whole batch is this process's."""
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over all processes, in one all-reduce."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.average(flat)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [piece.view_as(gradient) for piece, gradient in zip(pieces, gradients, strict=True)])

    def average(self, values: Tensor) -> Tensor:
        """Replaces the values by their mean over all processes, and returns them."""
        if self.size > 1:
            distributed.all_reduce(values)
            values /= self.size
        return values

    def agree(self, *decisions: int) -> tuple[int, ...]:
        """Returns, for each decision, the largest that any process made; all processes return the same."""
        if self.size == 1:
            return decisions
        votes = torch.tensor(decisions)
        distributed.all_reduce(votes, distributed.ReduceOp.MAX, group=self.control)
        return tuple(votes.tolist())

    def broadcast(self, facts: dict[str, Any], tensors: Iterable[Tensor]) -> dict[str, Any]:
        """Returns the first process's facts (values that JSON can hold), and copies its tensors into everybody's."""
        if self.size == 1:
            return facts
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
        text = torch.tensor(list(json.dumps(facts).encode()), dtype=torch.uint8)
        size = torch.tensor([len(text)])
        distributed.broadcast(size, 0, group=self.control)
        text = text if self.is_main else torch.empty(int(size), dtype=torch.uint8)
        distributed.broadcast(text, 0, group=self.control)
        return json.loads(bytes(text.tolist()))


def join_world(device: torch.device) -> World:
    """Returns this process's place, and joins the others where ``WORLD_SIZE`` says there are any (torchrun's variables)."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    patience = datetime.timedelta(seconds=TIMEOUT_SECONDS)
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    check_processes(local_rank + 1, device.type)
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
        distributed.init_process_group("nccl", timeout=patience)
        control = distributed.new_group(backend="gloo", timeout=patience)
    else:
        distributed.init_process_group("gloo", timeout=patience)
        control = None
    return World(distributed.get_rank(), size, control)


def check_processes(processes: int, device: str) -> None:
    """Raises FaceganError when so many processes on this machine cannot have a device each. ``device``: as the parameters have it."""
    device = find_device().type if device == "auto" else device
    if device == "mps" and processes > 1:
        raise FaceganError(f"train.processes: expected 1 on an Apple GPU, which processes cannot share; found {processes}; change it")
    if device == "cuda" and processes > torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise FaceganError(
            f"train.processes: expected at most one for each of this machine's CUDA GPUs ({count}); found {processes}; lower it, or set train.device to cpu"
        )


def leave_world(world: World) -> None:
    """Ends the connection to the other processes."""
    if world.size > 1:
        distributed.destroy_process_group()


def is_launched() -> bool:
    """Returns whether this process is one of several already, started by us or by torchrun."""
    return "WORLD_SIZE" in os.environ


def launch(processes: int) -> int:
    """Runs this very command in so many processes on this machine; returns the exit status.

    The first that fails ends all. A signal to this process is meant for all of them; see ``facegan.training.signals``.

    Raises:
        FaceganError: one of the processes died.
    """
    from facegan.training.signals import Interruption

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    command = [sys.executable, *sys.argv]
    children = [subprocess.Popen(command, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(processes)]
    with Interruption() as interruption:
        passed_on = False
        while any(child.poll() is None for child in children):
            if interruption.signal and not passed_on:
                signal_all(children, interruption.signal)
                passed_on = True
            if any(child.poll() not in (None, 0) for child in children):
                break
            time.sleep(0.05)
        statuses = end_all(children)
    if interruption.signal:
        return 128 + interruption.signal
    dead = [f"process {rank} (status {status})" for rank, status in enumerate(statuses) if status]
    if dead:
        raise FaceganError(f"expected {processes} processes to train to the end; {', '.join(dead)} died; the same command resumes")
    return 0


def signal_all(children: list[subprocess.Popen], number: int) -> None:
    """Sends the signal to each process that still runs."""
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def end_all(children: list[subprocess.Popen]) -> list[int]:
    """Waits for the processes to end, kills those that take too long, and returns their exit statuses."""
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while any(child.poll() is None for child in children) and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in children:
        if child.poll() is None:
            child.kill()
    return [child.wait() for child in children]
