"""The file format of checkpoints: everything that a resumed training needs, protected against partial writes.

A line with the format's name, the output of ``torch.save``, and the SHA-256 of both. It is read with ``weights_only=True``, so a pickle in
it cannot run code. Training interprets the state; ``facegan.models.generator_file`` can read the generator from it.
"""

import hashlib
import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from facegan.common.errors import FaceganError, printable
from facegan.common.files import replace_file

FORMAT = b"facegan checkpoint 2\n"
FAMILY = b"facegan checkpoint "
DIGEST_BYTES = 32


class HashingWriter:
    """A file that is written sequentially, with the SHA-256 of its content.

    ``error`` is the first error of the system; later writes are ignored, because PyTorch's C++ writer would replace an exception from
    ``write`` by its own.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Appends the bytes."""
        if self.error is None:
            self.digest.update(data)
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Does nothing; the file is flushed at its end."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically, also in case of a power failure.

    Raises:
        FaceganError: a full disk, or a folder that is not writable; the old file is kept.
    """
    with replace_file(path) as file:
        writer = HashingWriter(file)
        writer.write(FORMAT)
        torch.save(state, cast(BinaryIO, writer))
        if writer.error is not None:
            raise writer.error
        file.write(writer.digest.digest())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Returns the state, on the CPU. Raises FaceganError if the file is missing, damaged, of another kind or of another version."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaceganError(f"expected a checkpoint in {path}; found: {error.strerror}") from None
    line = content[: content.find(b"\n") + 1][:64]
    if line != FORMAT:
        found = printable(line.decode(errors="replace").strip()) if line.startswith(FAMILY) else "something else"
        raise FaceganError(f"expected «{FORMAT.decode().strip()}» in {path}; found {found}")
    body, digest = memoryview(content)[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise FaceganError(f"expected a complete checkpoint in {path}; found a damaged one ({len(content):,} bytes)")
    try:
        state = torch.load(io.BytesIO(body[len(FORMAT) :]), map_location="cpu", weights_only=True)
    except Exception as error:  # an untrusted pickle or archive can make PyTorch raise anything
        reason = printable(str(error).splitlines()[0])[:100] if str(error) else type(error).__name__
        raise FaceganError(f"expected a checkpoint in {path}; found another file with a hash of its own ({reason})") from None
    if not isinstance(state, dict) or not is_plain(state):
        raise FaceganError(f"expected a checkpoint in {path}; found other contents with a hash of its own")
    return state


def is_plain(state: Any) -> bool:
    """Returns whether nested lists and dictionaries contain only named values, and only dense tensors with data."""
    waiting, seen = [state], set()  # seen: a pickle may contain itself
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            if not all(isinstance(name, str) for name in value):
                return False
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif isinstance(value, torch.Tensor) and (value.layout != torch.strided or value.is_meta or value.is_quantized):
            return False
    return True


def is_checkpoint(path: Path) -> bool:
    """Returns whether the file starts like a checkpoint of any version."""
    with path.open("rb") as file:
        return file.read(len(FAMILY)) == FAMILY
