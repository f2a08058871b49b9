"""Where a run's resumable state lies between two calls of training, and what of it is kept when the run has ended.

A run's folder is named by its key: a hash of all that the run's outcome depends on (parameters, code, data), but for how long it is:
where no schedule counts on it, a longer run goes on from a shorter one's end. In the folder:

    run.json                  the key's ingredients, to say what changed
    state.ckpt                the newest checkpoint;  state.previous.ckpt: the one before, until the newest is whole
    good.ckpt                 the state at the last progress picture, to go back to when numbers explode
    progress/*.png            pictures made so far
    finished/IMAGES/          state.ckpt and good.ckpt of a run that came to its end, of the few newest in all folders
    stopped/IMAGES/           the same of one that was stopped, when a shorter one of the same key came after it

Nothing is taken away file by file: what goes is renamed in one step, then deleted, and leftovers of a kill are swept at the next start.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pydantic
import torch
from filelock import FileLock, Timeout

import facegan
from facegan.common.errors import FaceganError
from facegan.common.files import discard, read_json, write_json
from facegan.models.checkpoint_file import read_checkpoint, write_checkpoint

CODE = ("common", "models", "training")  # the packages that a training's outcome rests on
FINISHED_STATES = 3  # that are kept, of all runs together
TRASH = ".trash-"
DEPARTED = (".part", ".old")  # how names end of what is not in its place yet, or no more


class Ingredients(pydantic.BaseModel):
    """What a run's outcome depends on, by kind."""

    parameters: dict[str, Any]
    code: str
    data: str


class RunFolder:
    """The folder of one run below ``.checkpoints``; only who holds its lock may use it.

    Args:
        root: the folder of all runs' checkpoints.
        ingredients: what the outcome depends on, by kind ("parameters", "code", "data"), as values that JSON can hold.
    """

    def __init__(self, root: Path, ingredients: dict[str, Any]):
        self.root, self.ingredients = root, ingredients
        self.key = hash_of(ingredients)[:16]
        self.path = root / self.key
        self.lock = open_lock(root, self.key)

    def acquire(self) -> bool:
        """Takes the lock, if no other process holds it, and makes the folder ready. Returns whether it is ours now."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise FaceganError(
                f"expected to write into {self.root}; found: {error.strerror}; mend that, and run the same command again"
            ) from None
        sweep(self.root)
        for path in list(self.path.rglob("*")):
            if path.name.endswith(DEPARTED):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else discard(path)
        (self.path / "progress").mkdir(parents=True, exist_ok=True)
        if not (self.path / "run.json").exists():
            write_json(self.path / "run.json", self.ingredients)
        return True

    def release(self) -> None:
        """Leaves the folder to others."""
        self.lock.release()

    def save(self, state: dict[str, Any]) -> None:
        """Writes a checkpoint; the one before stays until this one is whole."""
        newest, previous = self.path / "state.ckpt", self.path / "state.previous.ckpt"
        unfinished = self.path / "state.next.ckpt"
        write_checkpoint(unfinished, state)
        if newest.exists():
            os.replace(newest, previous)
        os.replace(unfinished, newest)

    def picture(self, images_seen: int) -> Path:
        """Returns where the progress picture after so many images lies."""
        return self.path / "progress" / f"{images_seen:010d}.png"

    def pictures(self, images_seen: int) -> list[Path]:
        """Returns the progress pictures of the first so many images."""
        return [path for path in sorted((self.path / "progress").glob("*.png")) if path.stem.isdigit() and int(path.stem) <= images_seen]

    def keep_as_good(self) -> None:
        """Makes the newest checkpoint the one to go back to."""
        share(self.path / "state.ckpt", self.path / "good.ckpt")

    def load(self, check: Callable[[dict[str, Any]], str | None], end: int | None) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns the state from which a run of ``end`` images goes on, and messages.

        That is the newest whole checkpoint, or the nearest kept state before the end; None where there is none. It is ``state.ckpt``
        from then on. A stopped run that is past the end is kept aside for a longer run.

        Args:
            check: returns what is wrong with a state, in words, or None.
            end: None takes the newest, however far it is.
        """
        messages: list[str] = []
        found = None
        for path in (self.path / "state.ckpt", self.path / "state.previous.ckpt"):
            state = self._read(path, check, messages) if found is None else None
            if state is None:
                continue
            if end is not None and state["images_seen"] > end:
                self._keep("stopped", path, state["images_seen"])
                messages.append(f"the run that was stopped at {state['images_seen']:,} images is kept for a longer one")
                break  # the one before is past the end as well, or as good as this run's start
            found = state
            os.replace(path, self.path / "state.ckpt")
        least = found["images_seen"] if found else -1
        for images_seen, folder in sorted(self._list_kept(), reverse=True):
            if images_seen > least and (end is None or images_seen <= end):
                state = self._read(folder / "state.ckpt", check, messages)
                if state is not None:
                    for name in ("good.ckpt", "state.ckpt"):
                        share(folder / name, self.path / name)
                    discard(self.path / "state.previous.ckpt")
                    os.utime(folder)  # used again: among the newest
                    return state, messages
        return found, messages

    def load_good(self) -> dict[str, Any]:
        """Returns the state at the last progress picture."""
        return read_checkpoint(self.path / "good.ckpt")

    def keep_as_finished(self, images_seen: int) -> None:
        """Keeps the newest checkpoint as that of a run that came to its end, for this same run again or a longer one."""
        self._keep("finished", self.path / "state.ckpt", images_seen)

    def tidy(self) -> None:
        """Removes what a run needs no more now that ``keep_as_finished`` has kept it, and, of all runs, all but the newest finished states."""
        for name in ("state.next.ckpt", "state.previous.ckpt", "state.ckpt", "good.ckpt"):
            discard(self.path / name)
        furthest = max(images_seen for images_seen, folder in self._list_kept() if folder.parent.name == "finished")
        for images_seen, folder in self._list_kept():
            if folder.parent.name == "stopped" and images_seen <= furthest:  # it has come to its end after all
                throw_away(self.root, folder)
        kept = [path for path in self.root.glob("[!.]*/finished/*") if path.name.isdigit()]
        for path in sorted(kept, key=lambda path: path.stat().st_mtime)[:-FINISHED_STATES]:
            run = path.parent.parent
            with hold(self.root, run.name, self.lock) as is_ours:
                if is_ours:
                    throw_away(self.root, path)
                    if not has_state(run):
                        throw_away(self.root, run)

    def describe_others(self) -> str | None:
        """Returns, for a run that starts afresh beside an unfinished one, what differs from it; None when there is none."""
        others = [path for path in self.root.glob("[!.]*/run.json") if path.parent != self.path and (path.parent / "state.ckpt").exists()]
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
            try:
                theirs = read_json(path, Ingredients, "").model_dump()
            except FaceganError:  # torn or foreign: says nothing about what differs
                continue
            changed = [kind for kind, value in self.ingredients.items() if theirs.get(kind) != value]
            return f"{' and '.join(changed)} differ from the unfinished run in {path.parent}; this one starts afresh, that one is kept"
        return None

    def _read(self, path: Path, check: Callable[[dict[str, Any]], str | None], messages: list[str]) -> dict[str, Any] | None:
        """Returns a checkpoint's state, or None and a message that says why it is passed over."""
        if not path.exists():
            return None
        try:
            state = read_checkpoint(path)
            problem = check(state)
        except FaceganError as error:
            problem, state = str(error), {}
        if problem is None:
            return state
        messages.append(f"{problem if str(path) in problem else f'{path}: {problem}'}; it is passed over")
        return None

    def _keep(self, kind: str, state: Path, images_seen: int) -> None:
        """Keeps a checkpoint, and the one to go back to from it, below ``kind``: all at once, in one step."""
        place = self.path / kind / f"{images_seen:010d}"
        unfinished = place.with_name(place.name + ".part")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        good = self.path / "good.ckpt"
        share(state, unfinished / "state.ckpt")
        share(good if good.exists() else state, unfinished / "good.ckpt")
        if place.exists():
            throw_away(self.root, place)
        os.replace(unfinished, place)

    def _list_kept(self) -> list[tuple[int, Path]]:
        """Returns the kept states' images seen, and their folders."""
        return [(int(path.name), path) for kind in ("finished", "stopped") for path in self.path.glob(f"{kind}/*") if path.name.isdigit()]


def open_lock(root: Path, key: str) -> FileLock:
    """Returns the lock of a run; its file lies beside the run's folder, which may be renamed and deleted."""
    return FileLock(root / f".{key}.lock", mode=0o666)


@contextlib.contextmanager
def hold(root: Path, key: str, ours: FileLock) -> Iterator[bool]:
    """Holds another run's lock for the block, if nobody else does; yields whether it is held."""
    lock = open_lock(root, key)
    if lock.lock_file == ours.lock_file:
        yield True
        return
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def has_state(run: Path) -> bool:
    """Returns whether a run's folder holds anything to go on from."""
    return any(run.glob("state*.ckpt")) or any(run.glob("*/*/state.ckpt"))


def share(source: Path, target: Path) -> None:
    """Puts the file at ``target`` too, in one step: as a hard link where there are any (no file here is written in place), else as a copy."""
    unfinished = target.with_name(target.name + ".part")
    discard(unfinished)
    try:
        os.link(source, unfinished)
    except (AttributeError, OSError):  # a system or a file system without them
        shutil.copyfile(source, unfinished)
    os.replace(unfinished, target)
    discard(unfinished)  # replacing a link by another to the same file leaves both


def throw_away(root: Path, path: Path) -> None:
    """Removes a folder: out of its place in one step, then from the disk."""
    trash = root / f"{TRASH}{os.getpid()}-{hash_of([str(path), os.urandom(8).hex()])[:8]}"
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def sweep(root: Path) -> None:
    """Deletes what was thrown away by a process that was killed before it was gone."""
    for path in root.glob(f"{TRASH}*"):
        shutil.rmtree(path, ignore_errors=True)


def hash_of(value: Any) -> str:
    """Returns the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hash_code(packages: Iterable[str] = CODE) -> str:
    """Returns a hash of the sources that a training's outcome rests on, whether they are loaded yet or not, and of PyTorch's version."""
    root = Path(facegan.__file__).parent
    files = {path.relative_to(root).as_posix(): path for package in packages for path in sorted((root / package).rglob("*.py"))}
    return hash_of({"torch": torch.__version__, **{name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}})
