"""What lies in ``data/raw``: ``manifest.json``, and for a folder ``files.json`` with every file's sha256."""

import re
import urllib.parse
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, read_json, write_json

MANIFEST, ARCHIVE, FILES = "manifest.json", "photos.zip", "files.json"
REMEDY = "run the download stage again"
Sha256 = Annotated[str, pydantic.StringConstraints(pattern="^[0-9a-f]{64}$")]


class Manifest(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What lies in ``data/raw`` and where it came from.

    Exactly one of ``archive`` and ``folder`` is given. ``sha256`` is the archive's, or that of the folder's list of names and
    contents; ``bytes`` is the archive's size, or that of all listed files together.
    """

    source: Literal["avatars", "kaggle", "folder", "archive"]
    path: str | None  # data.path, as the parameters say it
    archive: Literal["photos.zip"] | None  # the file's name in data/raw
    folder: str | None  # absolute, as ``escape_name`` writes it
    sha256: Sha256
    bytes: pydantic.NonNegativeInt
    images: pydantic.NonNegativeInt  # how many photos `Photos.names` lists
    license: str
    only: str | None = None  # data.only, data.where and data.limit: which of the photos there are used
    where: dict[str, Literal[1, -1]] | None = None
    limit: pydantic.PositiveInt | None
    left_out: dict[str, pydantic.PositiveInt] = {}  # how many files of each kind were seen there and not taken

    @pydantic.model_validator(mode="after")
    def has_one_place(self) -> "Manifest":
        """Refuses a manifest of two places, or of none."""
        if (self.archive is None) == (self.folder is None):
            raise ValueError("either an archive or a folder")
        return self

    def describe_left_out(self) -> str:
        """Returns what was not taken in one line, or nothing."""
        return ", ".join(f"{count:,} {printable(kind)}" for kind, count in self.left_out.items())


class Files(pydantic.RootModel[dict[str, Sha256]], frozen=True):
    """The sha256 of each file in a folder, by its name as ``escape_name`` writes it."""


def read_manifest(raw: Path) -> Manifest:
    """Returns the manifest in ``raw``. Raises FaceganError when there is none or it is not one of ours."""
    return read_json(raw / MANIFEST, Manifest, REMEDY)


def write_manifest(raw: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json`` into ``raw``: the last thing that a download does, so its presence means the rest is whole."""
    write_json(raw / MANIFEST, manifest.model_dump())


def read_files(raw: Path, manifest: Manifest) -> dict[str, str]:
    """Returns the sha256 of every listed file by name. Raises FaceganError when the list is not the manifest's."""
    if hash_file(raw / FILES) != manifest.sha256:
        raise FaceganError(f"expected {raw / FILES} as {MANIFEST} describes it; found other contents; {REMEDY}")
    return {restore_name(name): sha256 for name, sha256 in read_json(raw / FILES, Files, REMEDY).root.items()}


def write_files(raw: Path, files: dict[str, str]) -> str:
    """Writes names and sha256 as ``files.json``, a line each, in plain order; returns the sha256 of what was written."""
    write_json(raw / FILES, {escape_name(name): files[name] for name in sorted(files)})
    return hash_file(raw / FILES)


def escape_name(name: str) -> str:
    """Returns a file's name as JSON can hold it: bytes that are no Unicode become ``%FF``, as in addresses, and the per cent sign ``%25``."""
    return re.sub("[%\udc80-\udcff]", lambda match: urllib.parse.quote(match[0], errors="surrogateescape"), name)


def restore_name(text: str) -> str:
    """Returns the name that ``escape_name`` wrote so."""
    return urllib.parse.unquote(text, errors="surrogateescape")
