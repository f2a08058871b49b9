"""Everything a resumed run needs, as one object, on disk in a form that a crash cannot spoil.

A run's folder is named by its key: a hash of all that the run's outcome depends on (parameters, code, data). The same key
resumes, another starts afresh, success deletes. In it:

    run.json            the key's ingredients, to say what changed
    state.ckpt          the newest checkpoint;  state.previous.ckpt: the one before, until the newest is whole
    good.ckpt           the state at the last progress picture, to go back to when numbers explode
    progress/*.png      pictures made so far

A checkpoint file is a line that names the format, what ``torch.save`` writes, and the SHA-256 of both.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import torch

from facegan.common.errors import FaceganError

FORMAT = b"facegan checkpoint 1\n"
DIGEST_BYTES = 32
CODE = ("facegan.common.", "facegan.models.", "facegan.training.")


class HashingWriter:
    """A file that is written once, front to back, with the SHA-256 of what went through."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> int:
        """Appends the bytes."""
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        """Hands what is buffered to the system."""
        self.file.flush()


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state so that ``path`` is either the old file or the whole new one, even if the power fails."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        writer = HashingWriter(file)
        writer.write(FORMAT)
        torch.save(state, writer)
        file.write(writer.digest.digest())
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the state, on the CPU. Raises FaceganError when the file is torn, foreign, or of another version."""
    content = path.read_bytes()
    line = content[: content.find(b"\n") + 1][:64]
    if line != FORMAT:
        found = line.decode(errors="replace").strip() if line.startswith(b"facegan checkpoint ") else "something else"
        raise FaceganError(f"expected «{FORMAT.decode().strip()}» in {path}; found {found}; it is passed over")
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise FaceganError(f"expected a whole checkpoint in {path}; found a torn one ({len(content):,} bytes); it is passed over")
    return torch.load(io.BytesIO(body[len(FORMAT) :]), map_location="cpu", weights_only=True)


class RunFolder:
    """The folder of one run below ``.checkpoints``, locked against a second process that runs the same.

    Args:
        root: the folder of all runs' checkpoints.
        ingredients: what the outcome depends on, by kind ("parameters", "code", "data"), as values that JSON can hold.

    Raises:
        FaceganError: another process holds the folder.
    """

    def __init__(self, root: Path, ingredients: dict[str, Any]):
        self.root, self.ingredients = root, ingredients
        self.key = hash_of(ingredients)[:16]
        self.path = root / self.key
        self.is_new = not self.path.exists()
        (self.path / "progress").mkdir(parents=True, exist_ok=True)
        self.lock = (self.path / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FaceganError(f"expected {self.path} for this process alone; found another that trains the same run; wait for it or stop it") from None
        (self.path / "run.json").write_text(json.dumps(ingredients, indent=1, sort_keys=True))

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

    def keep_as_good(self) -> None:
        """Makes the newest checkpoint the one to go back to."""
        link = self.path / "good.ckpt.part"
        link.unlink(missing_ok=True)
        os.link(self.path / "state.ckpt", link)
        os.replace(link, self.path / "good.ckpt")
        link.unlink(missing_ok=True)  # replacing a link by another to the same file leaves both

    def load(self) -> tuple[dict[str, Any] | None, list[str]]:
        """Returns the newest whole checkpoint, or None, and a message for each that was passed over.

        The one returned is ``state.ckpt`` from then on.
        """
        messages = []
        for path in (self.path / "state.ckpt", self.path / "state.previous.ckpt"):
            if path.exists():
                try:
                    state = read_checkpoint(path)
                except FaceganError as error:
                    messages.append(str(error))
                else:
                    os.replace(path, self.path / "state.ckpt")
                    return state, messages
        return None, messages

    def load_good(self) -> dict[str, Any]:
        """Returns the state at the last progress picture."""
        return read_checkpoint(self.path / "good.ckpt")

    def describe_others(self) -> str | None:
        """Returns, for a run that starts afresh beside an unfinished one, what differs from it; None when there is none."""
        others = [path for path in self.root.glob("*/run.json") if path.parent != self.path and (path.parent / "state.ckpt").exists()]
        if not others:
            return None
        newest = max(others, key=lambda path: path.stat().st_mtime)
        theirs = json.loads(newest.read_text())
        changed = [kind for kind, value in self.ingredients.items() if theirs.get(kind) != value]
        return f"{' and '.join(changed)} differ from the unfinished run in {newest.parent}; this one starts afresh, that one is kept"

    def delete(self) -> None:
        """Removes the folder; the run has come to its end."""
        shutil.rmtree(self.path)
        self.lock.close()


def hash_of(value: Any) -> str:
    """Returns the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def hash_code(modules: dict[str, Any]) -> str:
    """Returns a hash of the sources of all loaded modules that a training's outcome rests on, and of PyTorch's version."""
    names = sorted(name for name in modules if name.startswith(CODE))
    files = {name: Path(modules[name].__file__).read_bytes() for name in names}
    return hash_of({"torch": torch.__version__, **{name: hashlib.sha256(content).hexdigest() for name, content in files.items()}})
