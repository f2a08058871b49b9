"""Work shared out to processes: results in the order of the tasks, a few tasks under way, and no process left behind."""

import contextlib
import itertools
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from facegan.common.errors import FaceganError

TASKS_AHEAD = 4  # for each process, so that none waits for work


class Workers:
    """So many processes for the length of a ``with`` block.

    They are spawned, not forked: the same on every system. They start at once, beside whatever the block does before it has
    work for them. At the block's end, and at the parent's own end, however sudden, they end at once, amid a task too.

    Args:
        count: how many.
        page_bytes: the memory that each task of ``map_pages`` has for results too large for a message.

    Raises:
        FaceganError: fewer than one, or the system has no room for them.
    """

    def __init__(self, count: int, page_bytes: int = 0):
        if count < 1:
            raise FaceganError(f"expected at least 1 in --workers; found {count}; leave it out for one process a core")
        self.count = count
        self.page_bytes = page_bytes

    def __enter__(self) -> "Workers":
        context = multiprocessing.get_context("spawn")
        lifeline, self.hold = context.Pipe(duplex=False)
        shared_bytes = self.page_bytes * (TASKS_AHEAD * self.count + 1)  # one page more than tasks under way
        check_room(shared_bytes)
        try:
            shared = context.RawArray("B", shared_bytes)
            self.pages = view_pages(shared, self.page_bytes)
            self.pool = ProcessPoolExecutor(self.count, context, initializer=start_worker, initargs=(lifeline, shared, self.page_bytes))
            with defer_interrupts():
                for _ in range(self.count):
                    self.pool.submit(do_nothing)  # the pool starts a process when there is a task and nobody idle
        except OSError as error:
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
            raise FaceganError("expected the worker processes to last; found one killed, perhaps for memory; try fewer with --workers") from None

    def map_pages(self, function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[tuple[np.ndarray, Any]]:
        """Yields a page and ``function(page, *task)`` for each task, as ``map`` does.

        A page is uint8 (page_bytes,), in memory that both sides see: what the function leaves there is there, without a message.
        It is the taker's until the next one is asked for.
        """
        numbers = itertools.cycle(range(len(self.pages)))
        results = self.map(run_on_page, ((function, number, *task) for number, task in zip(numbers, tasks, strict=False)))
        return zip(itertools.cycle(self.pages), results, strict=False)


def check_room(shared_bytes: int) -> None:
    """Raises FaceganError where there is no room for so much shared memory: the system would end the program without a word.

    It lies in /dev/shm where there is one with room for it, else among the temporary files.
    """
    free = {place: shutil.disk_usage(place).free for place in ("/dev/shm", find_temporary()) if os.path.isdir(place)}
    if max(free.values(), default=0) < 2 * shared_bytes:  # others may take some before it is ours
        found = " and ".join(f"{free_bytes / 1e6:.1f} MB in {place}" for place, free_bytes in free.items()) or "none"
        problem = f"expected {2 * shared_bytes / 1e6:.1f} MB of room for pictures on their way between processes; found {found}"
        raise FaceganError(f"{problem}; make some, or try fewer with --workers")


def find_temporary() -> str:
    """Returns the folder for temporary files, or nothing where none can be written to."""
    try:
        return tempfile.gettempdir()
    except OSError:
        return ""


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


def view_pages(shared: Any, page_bytes: int) -> np.ndarray:
    """Returns shared memory as uint8 (pages, page_bytes)."""
    return np.frombuffer(shared, np.uint8).reshape(-1, page_bytes) if page_bytes else np.empty((0, 0), np.uint8)


def start_worker(lifeline: Connection, shared: Any, page_bytes: int) -> None:
    """Leaves Ctrl-C to the parent, keeps warnings to itself, opens the pages, and watches the lifeline."""
    global pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow's, of oddities in photos; what cannot be read is an error all the same
    pages = view_pages(shared, page_bytes)
    threading.Thread(target=end_with_lifeline, args=(lifeline,), daemon=True).start()


def do_nothing() -> None:
    """Runs in a worker, to have it started."""


def run_on_page(function: Callable[..., Any], number: int, *task: Any) -> Any:
    """Returns ``function(page, *task)``. Runs in a worker."""
    return function(pages[number], *task)


def end_with_lifeline(lifeline: Connection) -> None:
    """Ends this process when the parent lets go of the lifeline's other end."""
    wait([lifeline])
    os._exit(1)
