"""Progress of long work: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


class Progress:
    """Counts work done. In a ``with`` block: ``progress.add(3)`` after each piece.

    Args:
        title, total, unit: of what is counted.
        done: units done by earlier calls.
        quiet: show nothing.
    """

    def __init__(self, title: str, total: int, unit: str, done: int = 0, quiet: bool = False):
        self.title, self.total, self.unit = title, total, unit
        self.before = self.done = done
        self.quiet = quiet
        self.note = ""
        self.started = self.last_line = time.monotonic()
        on_terminal = sys.stderr.isatty() and not quiet
        self.bar = tqdm(total=total, initial=done, desc=title, unit=f" {unit}", smoothing=0.05) if on_terminal else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def add(self, count: int) -> None:
        """Adds units that are done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif not self.quiet and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            print(self.describe(self.last_line - self.started), flush=True)

    def annotate(self, note: str) -> None:
        """Shows a note next to the count from now on."""
        self.note = note
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)

    def say(self, message: str) -> None:
        """Prints a line without breaking the bar."""
        if self.bar is not None:
            self.bar.write(message, file=sys.stdout)
        elif not self.quiet:
            print(message, flush=True)

    def describe(self, seconds: float) -> str:
        """Returns the state after some seconds as one line."""
        rate = (self.done - self.before) / seconds
        left = f"{(self.total - self.done) / rate:,.0f} s left" if rate > 0 else "time left unknown"
        return ", ".join(
            part
            for part in (f"{self.title}: {self.done:,} of {self.total:,} {self.unit}", f"{rate:,.0f} per second", left, self.note)
            if part
        )


def describe_seconds(seconds: float) -> str:
    """Returns a time in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
