"""Metadata of ``data/raw``: ``manifest.json`` and, for a folder source, ``files.json`` with the SHA-256 of every file."""

import re
import urllib.parse
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, read_json, read_sealed_json, write_json, write_sealed_json

MANIFEST, ARCHIVE, FILES, LABELS = "manifest.json", "photos.zip", "files.json", "labels.json"
REMEDY = "run the download stage again"
Sha256 = Annotated[str, pydantic.StringConstraints(pattern="^[0-9a-f]{64}$")]


class Manifest(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Describes the photos in ``data/raw`` and their source.

    Exactly one of ``archive`` and ``folder`` is set. ``sha256`` and ``bytes`` are the archive's hash and size or, for a folder, the hash of
    ``files.json`` and the total size of the listed files.
    """

    source: Literal["avatars", "kaggle", "folder", "archive", "huggingface"]
    path: str | None  # data.path as given in the parameters; of the Hugging Face hub with the commit
    archive: Literal["photos.zip"] | None  # file name in data/raw
    folder: str | None  # data.path, encoded by ``escape_name``; a relative path starts at the project's folder, which may be moved
    sha256: Sha256
    bytes: pydantic.NonNegativeInt
    images: pydantic.NonNegativeInt  # number of selected photos, as in `Photos.names`
    license: str
    only: str | None = None  # data.only, data.where and data.limit: the selection
    where: dict[str, Literal[1, -1]] | None = None
    limit: pydantic.PositiveInt | None
    left_out: dict[str, pydantic.PositiveInt] = {}  # number of skipped files by kind
    labels: Sha256 | None = None  # of labels.json; without labels not in the file

    @pydantic.model_validator(mode="after")
    def has_one_place(self) -> "Manifest":
        """Rejects a manifest with both an archive and a folder, or neither."""
        if (self.archive is None) == (self.folder is None):
            raise ValueError("either an archive or a folder")
        return self

    def describe_left_out(self) -> str:
        """Returns the skipped files on one line, or an empty string."""
        return ", ".join(f"{count:,} {printable(kind)}" for kind, count in self.left_out.items())


class Files(pydantic.RootModel[dict[str, Sha256]], frozen=True):
    """The SHA-256 of each file in a folder, by its name encoded by ``escape_name``."""


def read_manifest(raw: Path) -> Manifest:
    """Returns the manifest in ``raw``. Raises FaceganError if it is missing or invalid."""
    return read_sealed_json(raw / MANIFEST, Manifest, REMEDY)


def write_manifest(raw: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json`` into ``raw``. Call this last: the file marks a complete download."""
    write_sealed_json(raw / MANIFEST, manifest.model_dump(exclude={"labels"} if manifest.labels is None else None))


def read_files(raw: Path, manifest: Manifest) -> dict[str, str]:
    """Returns the SHA-256 of every listed file by name. Raises FaceganError if ``files.json`` does not match the manifest."""
    if hash_file(raw / FILES) != manifest.sha256:
        raise FaceganError(f"expected {raw / FILES} as {MANIFEST} describes it; found different content; {REMEDY}")
    return {restore_name(name): sha256 for name, sha256 in read_json(raw / FILES, Files, REMEDY).root.items()}


def write_files(raw: Path, files: dict[str, str]) -> str:
    """Writes the SHA-256 by name as ``files.json``, sorted by name. Returns the SHA-256 of ``files.json``."""
    write_json(raw / FILES, {escape_name(name): files[name] for name in sorted(files)})
    return hash_file(raw / FILES)


def escape_name(name: str) -> str:
    """Returns a file name as valid Unicode for JSON: undecodable bytes become ``%FF``, as in URLs, and a percent sign ``%25``."""
    return re.sub("[%\udc80-\udcff]", lambda match: urllib.parse.quote(match[0], errors="surrogateescape"), name)


def restore_name(text: str) -> str:
    """Returns the name that ``escape_name`` encoded."""
    return urllib.parse.unquote(text, errors="surrogateescape")
