"""Where a run's state is stored between two calls of training, and what is kept after its end.

A run's folder is named by its key: a hash of everything that the result depends on (parameters, code, data), except its length: if no
schedule depends on that, a longer run continues from the end of a shorter one. In the folder:

    run.json                  what the key was computed from, to report what has changed
    state.ckpt                the newest checkpoint;  state.previous.ckpt: the one before, used if the newest is damaged
    good.ckpt                 the state at the last progress picture, to rewind to after infinite or NaN losses
    progress/*.png            progress pictures so far
    finished/IMAGES/          state.ckpt and good.ckpt of a finished run; the newest few of all runs are kept
    stopped/IMAGES/           the same for a stopped run, when a shorter run of the same key came after it

Folders are renamed before they are deleted, so a kill never leaves a part of one; leftovers are removed at the next start.
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
from filelock import FileLock, Timeout

from facegan.common.errors import FaceganError
from facegan.common.files import discard, open_lock, read_json, write_json
from facegan.models.checkpoint_file import read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from facegan.training.trainer import Trainer

CHECKPOINT_SHARE = 0.01  # of the time may be spent on timed checkpoints, however slow the disk
FINISHED_STATES = 3  # kept, of all runs together
TRASH = ".trash-"
UNFINISHED = (".part", ".old")  # suffixes of files and folders that are being written or replaced

Check = Callable[[dict[str, Any]], str | None]  # what is wrong with a state, in words, or None


class Ingredients(pydantic.BaseModel):
    """What a run's result depends on, by kind."""

    parameters: dict[str, Any]
    code: str
    data: str


class RunFolder:
    """The folder of one run in ``.checkpoints``; it may be used only while its lock is held.

    Args:
        root: the folder of all runs.
        ingredients: what the result depends on, by kind ("parameters", "code", "data"), as JSON values.
    """

    def __init__(self, root: Path, ingredients: dict[str, Any]):
        self.root, self.ingredients = root, ingredients
        self.key = hash_of(ingredients)[:16]
        self.path = root / self.key
        self.lock = open_lock(self.path)

    def acquire(self) -> bool:
        """Takes the lock and prepares the folder. Returns False if another process holds the lock."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            raise FaceganError(
                f"expected to write to {self.root}; found: {error.strerror}; fix that and run the same command again"
            ) from None
        for path in self.root.glob(f"{TRASH}*"):  # left by a process that was killed
            shutil.rmtree(path, ignore_errors=True)
        for path in list(self.path.rglob("*")):
            if path.name.endswith(UNFINISHED):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else discard(path)
        (self.path / "progress").mkdir(parents=True, exist_ok=True)
        if not (self.path / "run.json").exists():
            write_json(self.path / "run.json", self.ingredients)
        return True

    def release(self) -> None:
        """Releases the lock."""
        self.lock.release()

    def save(self, state: dict[str, Any]) -> None:
        """Writes a checkpoint; the previous one stays until this one is complete."""
        newest, previous = self.path / "state.ckpt", self.path / "state.previous.ckpt"
        unfinished = self.path / "state.next.ckpt"
        write_checkpoint(unfinished, state)
        if newest.exists():
            os.replace(newest, previous)
        os.replace(unfinished, newest)

    def picture(self, images_seen: int) -> Path:
        """Returns the path of the progress picture after ``images_seen`` images."""
        return self.path / "progress" / f"{images_seen:010d}.png"

    def pictures(self, images_seen: int) -> list[Path]:
        """Returns the progress pictures up to ``images_seen`` images."""
        return [path for path in sorted((self.path / "progress").glob("*.png")) if path.stem.isdigit() and int(path.stem) <= images_seen]

    def keep_as_good(self) -> None:
        """Makes the newest checkpoint the one to rewind to."""
        link(self.path / "state.ckpt", self.path / "good.ckpt")

    def load(self, check: Check, end: int | None) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns the state from which a run of ``end`` images continues, or None, and messages.

        That is the newest intact checkpoint, or the nearest kept state before the end; it becomes ``state.ckpt``. A stopped run that is
        past the end is kept for a longer run.

        Args:
            end: None takes the newest state.
        """
        messages: list[str] = []
        found = None
        for path in (self.path / "state.ckpt", self.path / "state.previous.ckpt"):
            state = self._read(path, check, messages) if found is None else None
            if state is None:
                continue
            if end is not None and state["images_seen"] > end:
                self._keep("stopped", path, state["images_seen"])
                messages.append(f"the run that was stopped at {state['images_seen']:,} images is kept for a longer run")
                break  # the one before may belong to a later rewind point
            found = state
            os.replace(path, self.path / "state.ckpt")
        least = found["images_seen"] if found else -1
        for images_seen, folder in sorted(self._list_kept(), reverse=True):
            if images_seen > least and (end is None or images_seen <= end):
                state = self._read(folder / "state.ckpt", check, messages)
                if state is not None:
                    for name in ("good.ckpt", "state.ckpt"):
                        link(folder / name, self.path / name)
                    discard(self.path / "state.previous.ckpt")
                    os.utime(folder)  # used again: among the newest
                    return state, messages
        return found, messages

    def find_newest(self) -> int:
        """Returns the images seen of the newest checkpoint, without changing anything; 0 if there is none."""
        newest = 0
        for path in [*self.path.glob("state*.ckpt"), *self.path.glob("*/*/state.ckpt")]:
            with contextlib.suppress(FaceganError, KeyError, TypeError):
                newest = max(newest, int(read_checkpoint(path)["images_seen"]))
        return newest

    def load_good(self) -> dict[str, Any]:
        """Returns the state at the last progress picture."""
        return read_checkpoint(self.path / "good.ckpt")

    def load_other(self, key: str, check: Check, end: int) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns another run's furthest state up to ``end``, and messages. Its pictures and the state to rewind to are copied here."""
        other, messages, best = self.root / key, list[str](), None
        for path in [*other.glob("state*.ckpt"), *other.glob("*/*/state.ckpt")]:
            state = self._read(path, check, messages)
            if state and state["images_seen"] <= end and (best is None or state["images_seen"] > best["images_seen"]):
                best = state
                good = path.with_name("good.ckpt")
                link(good if good.exists() else path, self.path / "good.ckpt")
        for picture in (other / "progress").glob("*.png") if best else ():
            link(picture, self.path / "progress" / picture.name)
        return best, messages

    def keep_as_finished(self, images_seen: int) -> None:
        """Keeps the newest checkpoint as that of a finished run, for the same run again or a longer one."""
        self._keep("finished", self.path / "state.ckpt", images_seen)

    def tidy(self) -> None:
        """Removes what a finished run no longer needs, and all but the newest finished states of all runs."""
        for name in ("state.next.ckpt", "state.previous.ckpt", "state.ckpt", "good.ckpt"):
            discard(self.path / name)
        furthest = max(images_seen for images_seen, folder in self._list_kept() if folder.parent.name == "finished")
        for images_seen, folder in self._list_kept():
            if folder.parent.name == "stopped" and images_seen <= furthest:
                throw_away(self.root, folder)
        kept = [path for path in self.root.glob("[!.]*/finished/*") if path.name.isdigit()]
        for path in sorted(kept, key=lambda path: path.stat().st_mtime)[:-FINISHED_STATES]:
            run = path.parent.parent
            with hold(run, self.lock) as is_ours:
                if is_ours:
                    throw_away(self.root, path)
                    if not has_state(run):
                        throw_away(self.root, run)

    def find_others(self) -> Iterator[tuple[Path, list[str]]]:
        """Yields the folders of other runs that have a state, the newest first, and which kinds of ingredients have changed."""
        others = [path for path in self.root.glob("[!.]*/run.json") if path.parent != self.path and has_state(path.parent)]
        for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
            with contextlib.suppress(FaceganError):  # of a damaged file
                theirs = read_json(path, Ingredients, "").model_dump()
                yield path.parent, [kind for kind, value in self.ingredients.items() if theirs.get(kind) != value]

    def find_with_other_code(self) -> Path | None:
        """Returns the newest run with the same parameters and data but other code, or None."""
        return next((path for path, changed in self.find_others() if changed == ["code"]), None)

    def describe_others(self) -> str | None:
        """Returns what has changed since an unfinished run, or since a run with the same parameters and data but other code."""
        for path, changed in self.find_others():
            if changed == ["code"]:
                return (
                    f"the code has changed since the run in {path}, so a new run starts and that one is kept; "
                    "to continue it with the new code instead: python stages/train.py --accept-code-change"
                )
            if (path / "state.ckpt").exists():
                return f"{' and '.join(changed)} changed since the unfinished run in {path}; a new run starts, that one is kept"
        return None

    def _read(self, path: Path, check: Check, messages: list[str]) -> dict[str, Any] | None:
        """Returns a checkpoint's state, or None, and adds a message with the reason."""
        if not path.exists():
            return None
        try:
            state = read_checkpoint(path)
            problem = check(state)
        except FaceganError as error:
            problem, state = str(error), {}
        if problem is None:
            return state
        messages.append(f"{problem if str(path) in problem else f'{path}: {problem}'}; it is skipped")
        return None

    def _keep(self, kind: str, state: Path, images_seen: int) -> None:
        """Keeps a checkpoint, and the one to rewind to, in ``kind``, in one step."""
        place = self.path / kind / f"{images_seen:010d}"
        unfinished = place.with_name(place.name + ".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        good = self.path / "good.ckpt"
        link(state, unfinished / "state.ckpt")
        link(good if good.exists() else state, unfinished / "good.ckpt")
        if place.exists():
            throw_away(self.root, place)
        os.replace(unfinished, place)

    def _list_kept(self) -> list[tuple[int, Path]]:
        """Returns the kept states' images seen, and their folders."""
        return [(int(path.name), path) for kind in ("finished", "stopped") for path in self.path.glob(f"{kind}/*") if path.name.isdigit()]


class Checkpointer:
    """Measures training time, and decides when a checkpoint is due: rarely enough to cost 1% of the time."""

    def __init__(self, trainer: "Trainer", checkpoint_seconds: float):
        self.trainer, self.spacing = trainer, checkpoint_seconds
        self.last = self.last_checkpoint = time.monotonic()
        self.cost = 0.0

    def is_checkpoint_due(self) -> bool:
        """Returns whether enough time has passed since the last checkpoint."""
        return time.monotonic() - self.last_checkpoint >= max(self.spacing, self.cost / CHECKPOINT_SHARE)

    def save(self, run: RunFolder, is_good: bool) -> None:
        """Writes a checkpoint; ``is_good`` makes it the one to rewind to."""
        start = time.monotonic()
        self.trainer.seconds += start - self.last
        self.last = start
        self.trainer.ema_generator()  # recalibrates batch norm, so that the checkpoint can be opened as a generator
        run.save(self.trainer.state_dict())
        if is_good:
            run.keep_as_good()
        self.last_checkpoint = time.monotonic()
        self.cost = self.last_checkpoint - start


@contextlib.contextmanager
def hold(run: Path, ours: FileLock) -> Iterator[bool]:
    """Holds another run's lock for the block if it is free; yields whether it is held."""
    lock = open_lock(run)
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
    """Returns whether a run's folder has a checkpoint to continue from."""
    return any(run.glob("state*.ckpt")) or any(run.glob("*/*/state.ckpt"))


def link(source: Path, target: Path) -> None:
    """Puts the file at ``target`` too, in one step: as a hard link where possible (no file here is changed in place), else as a copy."""
    unfinished = target.with_name(target.name + ".part")
    discard(unfinished)
    try:
        os.link(source, unfinished)
    except (AttributeError, OSError):  # not supported by the system or the file system
        shutil.copyfile(source, unfinished)
    os.replace(unfinished, target)
    discard(unfinished)  # replacing a link by another to the same file leaves both


def throw_away(root: Path, path: Path) -> None:
    """Deletes a folder: it is renamed in one step, then deleted."""
    trash = root / f"{TRASH}{os.getpid()}-{hash_of([str(path), os.urandom(8).hex()])[:8]}"
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, trash)
    shutil.rmtree(trash, ignore_errors=True)


def hash_of(value: Any) -> str:
    """Returns the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
