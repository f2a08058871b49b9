"""How far long work has come: a bar on a terminal, a plain line every ten seconds elsewhere."""

import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10


class Progress:
    """Counts work done. In a ``with`` block: ``progress.add(3)`` after each piece."""

    def __init__(self, title: str, total: int, unit: str):
        self.title, self.total, self.unit = title, total, unit
        self.done = 0
        self.started = self.last_line = time.monotonic()
        self.bar = tqdm(total=total, desc=title, unit=f" {unit}", smoothing=0.05) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def add(self, count: int) -> None:
        """Tells that so many more units are done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            print(self.describe(self.last_line - self.started), flush=True)

    def describe(self, seconds: float) -> str:
        """Returns the state after so many seconds as one line."""
        rate = self.done / seconds
        left = (self.total - self.done) / rate
        return f"{self.title}: {self.done:,} of {self.total:,} {self.unit}, {rate:,.0f} a second, {left:,.0f} s left"
