"""Reports a process that does not answer, in one line with its rank and host."""

import contextlib
import os
import socket
import threading
import time

from torch import distributed

from facegan.training.processes import World

ANSWER_SECONDS = 60.0  # before a process is reported; the environment variable FACEGAN_ANSWER_SECONDS overrides it
END_SECONDS = 3.0  # for the threads of all processes to end


def start_heartbeat(world: World) -> None:
    """Starts a thread that publishes this process's state and reports processes that do not answer.

    All processes wait for the slowest one. The cause is a process that no longer publishes anything, or that has started fewer collective
    operations than the others. Of the others, the one with the lowest rank reports it.
    """
    if world.size > 1:
        Heartbeat(world).start()


def stop_heartbeat() -> None:
    """Ends the thread, which must not use the store while the store is closed or Python exits: that ends the process with a signal."""
    for thread in threading.enumerate():
        if isinstance(thread, Heartbeat):
            thread.stopped.set()
            thread.join(2 * END_SECONDS)


class Heartbeat(threading.Thread):
    """The thread of one process."""

    def __init__(self, world: World) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.world, self.stopped = world, threading.Event()

    def run(self) -> None:
        """Watches the processes until ``stopped`` is set or the process with the store has ended."""
        with contextlib.suppress(RuntimeError):
            watch(self.world, self.stopped)


def watch(world: World, stopped: threading.Event) -> None:
    """Publishes and compares states until ``stopped`` is set; the process with the store then waits for the others to stop.

    Raises:
        RuntimeError: the process with the store has ended.
    """
    patience = float(os.environ.get("FACEGAN_ANSWER_SECONDS", ANSWER_SECONDS))
    store = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False)
    keys = [f"facegan/heartbeat/{rank}" for rank in range(world.size)]
    seen, changed, reported, beat = [""] * world.size, [time.monotonic()] * world.size, set[int](), 0
    moved, operations = time.monotonic(), -1
    while not stopped.is_set():
        beat += 1
        store.set(keys[world.rank], f"{world.operations[0]} {socket.gethostname()} {beat}")
        states = [store.get(key).decode() for key in keys] if store.check(keys) else []
        now = time.monotonic()
        if world.operations[0] != operations:
            moved, operations, reported = now, world.operations[0], set()
        for rank, state in enumerate(states):
            if state != seen[rank]:
                seen[rank], changed[rank] = state, now
        silent = {rank for rank in range(len(states)) if now - changed[rank] >= patience}
        behind = {rank for rank, state in enumerate(states) if int(state.split()[0]) < operations and now - moved >= patience}
        causes = silent | behind
        if causes and world.rank == min(set(range(world.size)) - causes, default=world.rank):
            for rank in sorted(causes - reported):
                host = states[rank].split()[1]
                print(f"rank {rank} on {host} has not answered for {patience:.0f} s; the other processes are waiting for it", flush=True)
            reported |= causes
        stopped.wait(min(5.0, patience / 4))
    ended, deadline = [f"{key}/ended" for key in keys], time.monotonic() + END_SECONDS
    store.set(ended[world.rank], "")
    while world.is_main and not store.check(ended) and time.monotonic() < deadline:
        time.sleep(0.01)
