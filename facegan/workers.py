"""Work shared out to processes: results in the order of the tasks, a few tasks under way, and no process left behind."""

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

from facegan.errors import FaceganError

TASKS_AHEAD = 4  # for each process, so that none waits for work


class Workers:
    """So many processes for the length of a ``with`` block.

    They are spawned, not forked: the same on every system. At the block's end, and at the parent's own end, however sudden,
    they end at once, amid a task too.
    """

    def __init__(self, count: int):
        if count < 1:
            raise FaceganError(f"expected at least 1 in --workers; found {count}; leave it out for one process a core")
        self.count = count

    def __enter__(self) -> "Workers":
        context = multiprocessing.get_context("spawn")
        lifeline, self.hold = context.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(self.count, context, initializer=start_worker, initargs=(lifeline,))
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
            raise FaceganError("expected the worker processes to last; found one killed, perhaps for memory; try fewer with --workers") from None


def start_worker(lifeline: Connection) -> None:
    """Leaves Ctrl-C to the parent, keeps warnings to itself, and watches the lifeline."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's, of oddities in photos; what cannot be read is an error all the same
    threading.Thread(target=end_with_lifeline, args=(lifeline,), daemon=True).start()


def end_with_lifeline(lifeline: Connection) -> None:
    """Ends this process when the parent lets go of the lifeline's other end."""
    wait([lifeline])
    os._exit(1)
