"""The generators that the studio may open, and the one in memory.

Visitors select a generator by its name in ``Generators.known()``; a path never comes from outside.
"""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file
from facegan.models.generator_file import Card, load_generator
from facegan.models.network import GeneratorNetwork
from facegan.studio.runs import Run, find_cache, find_generator, read_runs, read_text
from facegan.studio.trainings import find_checkpoints

TRAINING = "training "  # the beginning of the names of training runs, whose newest checkpoint is opened
MAX_FOLDER = 200
MAX_WAITING = 32
TIMEOUT_SECONDS = 20


class Busy(FaceganError):
    """Too many concurrent requests; the same request succeeds a little later."""


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A generator in memory: the network, its card, the hash of its file."""

    network: GeneratorNetwork
    card: Card
    fingerprint: str


class Generators:
    """Lists the project's generators and keeps one of them in memory, which one visitor uses at a time.

    Args:
        project: the project's folder.
        given: a generator from the command line; it is listed first.
        folder: a folder of further generators, searched recursively.
    """

    def __init__(self, project: Path, given: Path | None = None, folder: Path | None = None):
        self.project, self.given, self.folder = project, given, folder
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.lock, self.waiting = threading.Lock(), threading.BoundedSemaphore(MAX_WAITING)
        self.loaded: tuple[tuple[Path, int, int], Loaded] | None = None
        self.runs: list[Run] = []
        self.refresh()

    def refresh(self) -> None:
        """Reads the list of runs again."""
        self.runs = read_runs(self.project)

    def known(self) -> dict[str, Path]:
        """Returns the generators' files by name, beginning with the one to show first."""
        found = {"given": self.given} if self.given else {}
        model = self.project / "data" / "model" / "generator.safetensors"
        if not model.is_file():  # while DVC trains, it has removed data/model, and the last generator is in its cache
            model = find_generator(find_cache(self.project), read_text(self.project / "dvc.lock")) or model
        found |= {"workspace": model, "workspace best": self.project / "data" / "model" / "best.safetensors"}
        found |= {path.stem: path for path in sorted((self.project / "pretrained").glob("*.safetensors"))}
        found |= {run.name: run.generator for run in self.runs if run.generator and run.name not in found}
        found |= {f"{TRAINING}{name}": path for name, path in find_checkpoints(self.project).items()}
        if self.folder:
            paths = sorted(self.folder.rglob("*.safetensors"))[:MAX_FOLDER]
            found |= {path.relative_to(self.folder).as_posix(): path for path in paths}
        return {name: path for name, path in found.items() if path.is_file() or name == "given"}

    def state(self) -> list[tuple[str, Path, int]]:
        """Returns the known generators with the time of their last change: equal if their faces are."""
        found = []
        for name, path in self.known().items():
            with contextlib.suppress(OSError):  # a checkpoint has just been replaced
                found.append((name, path, path.stat().st_mtime_ns))
        return found

    def find(self, name: str) -> Path:
        """Returns the file of a generator. Raises FaceganError if the name is unknown."""
        known = self.known()
        if name not in known:
            names = ", ".join(known) or "none yet: train one"
            raise FaceganError(f"expected a generator among {names}; found {name[:40]!r}; choose one of those")
        return known[name]

    def first(self) -> str:
        """Returns the name of the generator to show first. Raises FaceganError if there is none."""
        for name in self.known():
            return name
        raise FaceganError(f"expected a generator in {self.project}; found none; run dvc repro, or select one with --model")

    @contextlib.contextmanager
    def use(self, name: str) -> Iterator[Loaded]:
        """Gives this thread exclusive use of the named generator within the block.

        Raises:
            Busy: too many requests are waiting, or this one has waited too long.
            FaceganError: an unknown name, or a file that is not a generator.
        """
        path = self.find(name)
        if not self.waiting.acquire(blocking=False):
            raise Busy(f"expected at most {MAX_WAITING} waiting requests; found the studio busy; try again in a moment")
        try:
            acquired = self.lock.acquire(timeout=TIMEOUT_SECONDS)
        finally:
            self.waiting.release()
        if not acquired:
            raise Busy(f"expected an answer within {TIMEOUT_SECONDS} s; found the studio busy; try again in a moment")
        try:
            yield self.load(path)
        finally:
            self.lock.release()

    def load(self, path: Path) -> Loaded:
        """Returns the generator in a file; from memory if it was loaded last and the file has not changed."""
        try:
            status = path.stat()
            key = (path, status.st_mtime_ns, status.st_size)
            if self.loaded and self.loaded[0] == key:
                return self.loaded[1]
            self.loaded = None  # frees the memory before the next one is loaded
            network, card = load_generator(path, self.device)
        except OSError as error:
            raise FaceganError(f"expected a generator at {path}; found: {error.strerror}; train one, or choose another") from None
        loaded = Loaded(network.requires_grad_(False), card, hash_file(path))
        self.loaded = key, loaded
        return loaded
