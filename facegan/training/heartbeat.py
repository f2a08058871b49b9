"""Reports a process that does not answer, in one line with its rank and host."""

import os
import socket
import threading
import time

from torch import distributed

from facegan.training.processes import World

ANSWER_SECONDS = 60.0  # before a process is reported; the environment variable FACEGAN_ANSWER_SECONDS overrides it


def start_heartbeat(world: World) -> None:
    """Starts a thread that publishes this process's state and reports processes that do not answer.

    All processes wait for the slowest one. The cause is a process that no longer publishes anything, or that has started fewer collective
    operations than the others. Of the others, the one with the lowest rank reports it.
    """
    if world.size > 1:
        threading.Thread(target=watch, args=(world,), daemon=True, name="heartbeat").start()


def watch(world: World) -> None:
    """Publishes and compares states until the process ends or the store is closed."""
    patience = float(os.environ.get("FACEGAN_ANSWER_SECONDS", ANSWER_SECONDS))
    store = distributed.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, wait_for_workers=False)
    keys = [f"facegan/heartbeat/{rank}" for rank in range(world.size)]
    seen, changed, reported, beat = [""] * world.size, [time.monotonic()] * world.size, set[int](), 0
    moved, operations = time.monotonic(), -1
    while True:
        beat += 1
        try:
            store.set(keys[world.rank], f"{world.operations[0]} {socket.gethostname()} {beat}")
            states = [store.get(key).decode() for key in keys] if store.check(keys) else []
        except RuntimeError:  # the process with the store has ended
            return
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
        time.sleep(min(5.0, patience / 4))
