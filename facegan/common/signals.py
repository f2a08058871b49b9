"""SIGINT, SIGTERM and the end of DVC, as a flag that a loop checks between two steps."""

import os
import signal
from pathlib import Path
from types import FrameType

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """Work was stopped by a signal, and can be resumed. ``status``: the exit status for it."""

    def __init__(self, signal: int):
        super().__init__(f"stopped by signal {signal}")
        self.status = 128 + signal


class Interruption:
    """Within this context SIGINT and SIGTERM are recorded instead of ending the process: ``signal`` is the number, or 0.

    Under DVC the process also watches its parents: when DVC is killed, nothing will collect the results, so this counts as a SIGTERM.
    Without DVC it does not, because a shell may be closed while training continues.
    """

    def __enter__(self) -> "Interruption":
        self.signal = 0
        self.previous = {number: signal.signal(number, self._note) for number in WATCHED}
        self.parents = find_parents() if "DVC_STAGE" in os.environ else []
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def check(self) -> int:
        """Returns the signal that asks training to stop, or 0."""
        if not self.signal and self.parents and find_parents() != self.parents:
            self.signal = signal.SIGTERM
        return self.signal

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal:  # asked twice: do not wait for the checkpoint
            raise KeyboardInterrupt
        self.signal = number


def find_parents() -> list[int]:
    """Returns the process ids of the parent and, where the system reports it, of the grandparent: DVC runs stages through a shell."""
    parent = os.getppid()
    status = Path(f"/proc/{parent}/stat")
    try:
        fields = status.read_text().rsplit(")", 1)[1].split()
    except OSError:  # not Linux, or the parent has just ended
        return [parent]
    return [parent, int(fields[1])]
