"""Writing files and folders atomically, reading small JSON files, and locking folders.

Every output is written to a temporary name next to its target, synced, and renamed: after a crash the target is either the old file or the
complete new one, and a hard link into DVC's cache is replaced, never written to.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

import pydantic
from filelock import FileLock, Timeout

from facegan.common.errors import FaceganError

Content = TypeVar("Content", bound=pydantic.BaseModel)


def check_printable(text: str) -> str:
    """Returns the text. Raises ValueError for control characters, such as a terminal's escape codes."""
    if not text.isprintable():
        raise ValueError("expected printable text")
    return text


PrintableText = Annotated[str, pydantic.AfterValidator(check_printable)]  # of a file, to be shown in a terminal or on a page


@contextlib.contextmanager
def replace_file(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces ``path`` if the block succeeds; otherwise ``path`` does not change.

    The permissions follow the umask.

    Args:
        durable: sync the file to disk first, so that it is complete even after a power failure.

    Raises:
        FaceganError: a full disk, or a folder that is not writable.
    """
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        discard(unfinished)
        raise FaceganError(
            f"expected to write {path}; found: {error.strerror or error}; fix that and run the same command again"
        ) from error
    except BaseException:
        discard(unfinished)
        raise


@contextlib.contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yields a new empty folder that replaces ``folder`` if the block succeeds; otherwise ``folder`` does not change.

    Files of the old folder are never written to, so hard links to them keep their content. A killed run leaves an unfinished folder, which
    the next run removes. For several runs at the same time, see ``lock_folder``.

    Raises:
        FaceganError: a full disk, or a folder that is not writable.
    """
    folder = folder.resolve()  # the target of a link
    unfinished, former = folder.with_name(f".{folder.name}.part"), folder.with_name(f".{folder.name}.old")
    try:
        if former.exists() and not folder.exists():  # killed between the two renames below
            os.replace(former, folder)
        for leftover in (unfinished, former):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        if folder.exists():
            os.replace(folder, former)
        os.replace(unfinished, folder)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise FaceganError(
            f"expected to write {folder}; found: {error.strerror or error}; fix that and run the same command again"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def discard(path: Path) -> None:
    """Removes a file if it exists and can be removed."""
    with contextlib.suppress(OSError):
        path.unlink()


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Writes a file with ``replace_file``."""
    with replace_file(path, durable) as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Writes text in UTF-8. Characters that are not Unicode (undecodable bytes of a file name) become ``\\udcXX``."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, values: Any) -> None:
    """Writes a small JSON file; the order of keys is kept."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write_sealed_json(path: Path, values: Mapping[str, Any]) -> None:
    """Writes a small JSON file with a fingerprint of its content, which ``read_sealed_json`` compares."""
    write_json(path, {**values, "fingerprint": compute_fingerprint(values)})


def compute_fingerprint(values: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of JSON values, except of the one named "fingerprint"."""
    return hashlib.sha256(json.dumps({**values, "fingerprint": ""}, sort_keys=True).encode()).hexdigest()


def read_sealed_json(path: Path, kind: type[Content], remedy: str) -> Content:
    """Returns the content of a file of ``write_sealed_json``, checked by its pydantic model. Raises FaceganError if it does not fit."""
    return validate_json(path, kind, json.dumps(read_sealed_values(path, remedy)), remedy)


def read_sealed_values(path: Path, remedy: str) -> dict[str, Any]:
    """Returns the content of a file of ``write_sealed_json``, without its fingerprint.

    Raises:
        FaceganError: no such file, or one that has changed since it was written.
    """
    try:
        values = json.loads(read_small_file(path, remedy))
        is_intact = isinstance(values, dict) and values.pop("fingerprint", None) == compute_fingerprint(values)
    except (ValueError, RecursionError):
        is_intact = False
    if not is_intact:
        raise FaceganError(f"expected {path} as this version of facegan wrote it; found other content; {remedy}")
    return values


def read_json(path: Path, kind: type[Content], remedy: str) -> Content:
    """Returns the content of a small JSON file, validated by its pydantic model.

    Args:
        remedy: what to do about a missing or damaged file, such as "run the stage preprocess again".

    Raises:
        FaceganError: no such file, or other content.
    """
    return validate_json(path, kind, read_small_file(path, remedy), remedy)


def read_small_file(path: Path, remedy: str) -> bytes:
    """Returns a file's bytes. Raises FaceganError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FaceganError(f"expected {path}; found: {error.strerror}; {remedy}") from None


def validate_json(path: Path, kind: type[Content], content: str | bytes, remedy: str) -> Content:
    """Returns JSON text as a pydantic model. Raises FaceganError if it does not fit."""
    try:
        return kind.model_validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FaceganError(
            f"expected {kind.__name__} in {path}; found something else ({where or 'the file'}: {first['msg']}); {remedy}"
        ) from None


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal digits. Raises FaceganError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FaceganError(f"expected to read {path}; found: {error.strerror}; fix that and run the same command again") from None


def open_lock(folder: Path) -> FileLock:
    """Returns the lock of a folder; its file is next to the folder, which may be renamed and deleted, and may be used by all users."""
    return FileLock(folder.with_name(f".{folder.name}.lock"), mode=0o666)


@contextlib.contextmanager
def lock_folder(folder: Path, work: str) -> Iterator[None]:
    """Reserves a folder for this process during the block; the lock is released when the process ends in any way.

    Args:
        work: what is done there, for the error: "preprocesses into it".

    Raises:
        FaceganError: another process holds the lock.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = open_lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FaceganError(f"expected {folder} to be free; found another process that {work}; wait for it or stop it") from None
    try:
        yield
    finally:
        lock.release()
