"""A process pool with ordered results, a bounded number of pending tasks, and no process left behind.

Results return as messages, not in shared memory: containers often have only 64 MB of that, and a process that exceeds it is killed
without an error message. Processes on several machines are Dask's. On one machine Dask took 35 to 55% more CPU time and 80 MB more memory:
docs/measurements/photos.md.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from facegan.common.errors import FaceganError

TASKS_AHEAD = 4  # per process, so that none is idle

Result = TypeVar("Result")


class Workers:
    """A context manager that runs ``count`` worker processes.

    They are spawned, not forked, so that they behave the same on every system, and start immediately, in parallel with the block's own
    preparations. When the block ends or the parent process dies, they exit immediately, even during a task.

    Raises:
        FaceganError: ``count`` is below 1, or the system has no room for the processes.
    """

    pool: Executor
    failures: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    remedy = "use fewer --workers"

    def __init__(self, count: int):
        if count < 1:
            raise FaceganError(f"expected at least 1 in --workers; found {count}; leave it out for one process per core")
        self.count = count

    def __enter__(self) -> "Workers":
        context = multiprocessing.get_context("spawn")
        lifeline, self.hold = context.Pipe(duplex=False)
        try:
            self.pool = ProcessPoolExecutor(self.count, context, initializer=start_worker, initargs=(lifeline,))
            with block_interrupts():
                for _ in range(self.count):
                    self.pool.submit(int)  # the pool starts a process for a task, here an empty one, if none is idle
        except OSError as error:
            self.hold.close()
            problem = f"expected room for {self.count} worker processes and their locks, in /dev/shm on Linux; found: {error.strerror}"
            raise FaceganError(f"{problem}; free some, or use fewer --workers") from None
        return self

    def __exit__(self, *error: object) -> None:
        self.hold.close()
        self.pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]]) -> Iterator[Result]:
        """Yields ``function(*task)`` for each task, in order. Takes tasks from the iterable only as needed.

        Raises:
            FaceganError: a process was killed. Exceptions of the function are raised unchanged.
        """
        pending: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                pending.append(self.pool.submit(function, *task))
                if len(pending) > TASKS_AHEAD * self.count:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except self.failures:
            problem = "expected the worker processes to keep running; found one killed, possibly for lack of memory"
            raise FaceganError(f"{problem}; {self.remedy}") from None


class DaskWorkers(Workers):
    """The same with the workers of a Dask scheduler. A task whose worker is killed runs again on another, up to three times.

    Args:
        address: of the scheduler, such as ``tcp://host:8786``.

    Raises:
        FaceganError: Dask is not installed, or there is no scheduler, or none with workers.
    """

    remedy = "or the scheduler stopped; see the logs of both, and run the same command again"

    def __init__(self, address: str):
        self.address = address

    def __enter__(self) -> "DaskWorkers":
        try:
            import distributed

            self.client = distributed.Client(self.address)
        except (ImportError, OSError, ValueError) as error:
            problem = f"expected a Dask scheduler at {self.address}; found {type(error).__name__}: {error}"
            raise FaceganError(f"{problem}; check the address, and run pip install -r requirements/optional.txt") from None
        self.failures = (distributed.KilledWorker, CancelledError)
        self.pool, self.count = self.client.get_executor(pure=False), sum(self.client.nthreads().values())
        if not self.count:
            self.client.close()
            raise FaceganError(f"expected workers of the scheduler; found none; run dask worker {self.address}")
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=False)
        self.client.close()


@contextlib.contextmanager
def block_interrupts() -> Iterator[None]:
    """Blocks SIGINT in this process and in those started meanwhile, which inherit the mask: only the parent handles Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker(lifeline: Connection) -> None:
    """Initialises a worker: ignores SIGINT and warnings, and watches the lifeline."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")  # Pillow warns of odd metadata; unreadable photos are exceptions
    threading.Thread(target=exit_with_lifeline, args=(lifeline,), daemon=True).start()


def exit_with_lifeline(lifeline: Connection) -> None:
    """Ends this process when the other end of the lifeline is closed, by the parent or by its death."""
    wait([lifeline])
    os._exit(1)
