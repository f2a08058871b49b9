"""Work shared out to processes: results in the order of the tasks, a few tasks under way, and no process left behind.

Results come back as messages. Shared memory would spare a copy of each picture, but a system with too little room for it (a container
gives 64 MB) ends a program that writes there without a word.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any

from facegan.common.errors import FaceganError

TASKS_AHEAD = 4  # for each process, so that none waits for work


class Workers:
    """So many processes for the length of a ``with`` block.

    They are spawned, not forked: the same on every system. They start at once, beside whatever the block does before it has
    work for them. At the block's end, and at the parent's own end, however sudden, they end at once, amid a task too.

    Raises:
        FaceganError: fewer than one, or the system has no room for them.
    """

    def __init__(self, count: int):
        if count < 1:
            raise FaceganError(f"expected at least 1 in --workers; found {count}; leave it out for one process a core")
        self.count = count

    def __enter__(self) -> "Workers":
        context = multiprocessing.get_context("spawn")
        lifeline, self.hold = context.Pipe(duplex=False)
        try:
            self.pool = ProcessPoolExecutor(self.count, context, initializer=start_worker, initargs=(lifeline,))
            with defer_interrupts():
                for _ in range(self.count):
                    self.pool.submit(do_nothing)  # the pool starts a process when there is a task and nobody idle
        except OSError as error:
            self.hold.close()
            problem = f"expected room for {self.count} worker processes and their locks, in /dev/shm on Linux; found: {error.strerror}"
            raise FaceganError(f"{problem}; make some, or try fewer with --workers") from None
        return self

    def __exit__(self, *error: object) -> None:
        self.hold.close()
        self.pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
        """Yields ``function(*task)`` for each task, in order; takes the tasks up as they are needed.

        Raises:
            FaceganError: a process was killed. What the function raises comes through as it is.
        """
        under_way: deque[Future] = deque()
        try:
            for task in tasks:
                under_way.append(self.pool.submit(function, *task))
                if len(under_way) > TASKS_AHEAD * self.count:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool:
            raise FaceganError(
                "expected the worker processes to last; found one killed, perhaps for memory; try fewer with --workers"
            ) from None


@contextlib.contextmanager
def defer_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back, also from the processes that are started meanwhile: it is for the parent to answer. Windows knows no such thing."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which processes inherit
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(lifeline: Connection) -> None:
    """Leaves Ctrl-C to the parent, keeps warnings to itself, and watches the lifeline."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's, of oddities in photos; what cannot be read is an error all the same
    threading.Thread(target=end_with_lifeline, args=(lifeline,), daemon=True).start()


def do_nothing() -> None:
    """Runs in a worker, to have it started."""


def end_with_lifeline(lifeline: Connection) -> None:
    """Ends this process when the parent lets go of the lifeline's other end."""
    wait([lifeline])
    os._exit(1)
