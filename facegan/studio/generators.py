"""The generators that the studio may open, and the one that is in memory.

Visitors name a generator by its name in ``Generators.known()``; a path never comes from outside.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file
from facegan.models.generator_file import Card, load_generator
from facegan.studio.runs import Run, read_runs

MOST_WAITING = 32
PATIENCE_SECONDS = 20


class Busy(FaceganError):
    """Too many ask at once; the same question a little later is answered."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A generator in memory: the network, its card, the hash of its file."""

    network: nn.Module
    card: Card
    fingerprint: str


class Generators:
    """Knows the project's generators and holds one of them in memory, for one visitor at a time.

    Args:
        project: the project's folder.
        given: a generator that was named when the studio was started; it comes first.
    """

    def __init__(self, project: Path, given: Path | None = None):
        self.project, self.given = project, given
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.lock, self.counting, self.waiting = threading.Lock(), threading.Lock(), 0
        self.loaded: tuple[tuple, Loaded] | None = None
        self.runs: list[Run] = []
        self.refresh()

    def refresh(self) -> None:
        """Looks again which runs there are."""
        self.runs = read_runs(self.project)

    def known(self) -> dict[str, Path]:
        """Returns the generators' files by name, the one to show first in front."""
        found = {"given": self.given} if self.given else {}
        model = self.project / "data" / "model"
        own = {"workspace": model / "generator.safetensors", "workspace best": model / "best.safetensors"}
        found |= {name: path for name, path in own.items() if path.is_file()}
        found |= {path.stem: path for path in sorted((self.project / "pretrained").glob("*.safetensors"))}
        return found | {run.name: run.generator for run in self.runs if run.generator and run.name != "workspace"}

    def find(self, name: str) -> Path:
        """Returns the file of a generator. Raises FaceganError when there is none of that name."""
        known = self.known()
        if name not in known:
            raise FaceganError(
                f"expected a generator among {', '.join(known) or 'none yet: train one'}; found {name[:40]!r}; choose one of those"
            )
        return known[name]

    def first(self) -> str:
        """Returns the generator to begin with. Raises FaceganError when there is none at all."""
        for name in self.known():
            return name
        raise FaceganError(f"expected a generator in {self.project}; found none; run dvc repro, or name one with --model")

    @contextlib.contextmanager
    def use(self, name: str) -> Iterator[Loaded]:
        """Gives the generator of that name to this thread alone for the length of the block.

        Raises:
            Busy: too many wait already, or the wait has been long.
            FaceganError: an unknown name, or a file that holds no generator.
        """
        path = self.find(name)
        with self.counting:
            if self.waiting >= MOST_WAITING:
                raise Busy(f"expected at most {MOST_WAITING} waiting; found the studio busy; try again in a moment")
            self.waiting += 1
        try:
            held = self.lock.acquire(timeout=PATIENCE_SECONDS)
        finally:
            with self.counting:
                self.waiting -= 1
        if not held:
            raise Busy(f"expected an answer within {PATIENCE_SECONDS} s; found the studio busy; try again in a moment")
        try:
            yield self.load(path)
        finally:
            self.lock.release()

    def load(self, path: Path) -> Loaded:
        """Returns the generator in that file, from memory where it is the one loaded last and the file is the same still."""
        try:
            status = path.stat()
            key = (path, status.st_mtime_ns, status.st_size)
            if self.loaded and self.loaded[0] == key:
                return self.loaded[1]
            self.loaded = None  # never two at once
            network, card = load_generator(path, self.device)
        except OSError as error:
            raise FaceganError(f"expected a generator at {path}; found: {error.strerror}; train one, or choose another") from None
        loaded = Loaded(network.requires_grad_(False), card, hash_file(path))
        self.loaded = key, loaded
        return loaded
