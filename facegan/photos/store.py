"""The photos as they came: one archive, or a folder of loose photos left where it is.

In: ``data/raw``, which holds ``manifest.json`` and either one zip archive or, for a folder, ``files.json`` with the name and
the sha256 of every file, so that no photo is copied. Out: the photos' names in a fixed order, and the bytes of each.
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from facegan.common.errors import FaceganError
from facegan.photos.formats import FORMATS
from facegan.photos.zip_archive import ZipStore

MANIFEST, ARCHIVE, FILES = "manifest.json", "photos.zip", "files.json"
UNFINISHED = "manifest.json.part"
PARTITION = "list_eval_partition.csv"
LIST_AGAIN = "run `dvc repro --force download` to list the folder again"
SUFFIXES = tuple(FORMATS)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What lies in ``data/raw`` and where it came from.

    Exactly one of ``archive`` and ``folder`` is given. ``sha256`` is the archive's, or that of the folder's list of names and
    contents; ``bytes`` is the archive's size, or that of all listed files together.
    """

    source: str  # avatars, kaggle, folder or archive
    path: str | None  # data.path, as the parameters say it
    archive: str | None  # the file's name in data/raw
    folder: str | None  # absolute
    sha256: str
    bytes: int
    images: int  # how many photos `Photos.names` lists
    license: str
    limit: int | None  # data.limit: use only the first so many names


class Store(Protocol):
    """Where bytes lie under names: a zip file, or a folder."""

    def list_names(self) -> list[str]: ...

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]: ...

    def select(self, names: list[str]) -> "Store": ...


class FolderStore:
    """Loose files below a folder, each with the sha256 that it had when it was listed."""

    def __init__(self, folder: Path, files: dict[str, str]):
        self.folder, self.files = folder, files

    def list_names(self) -> list[str]:
        """Returns the names relative to the folder, with forward slashes."""
        return list(self.files)

    def select(self, names: list[str]) -> "FolderStore":
        """Returns a store of these files alone, small enough to be sent to another process."""
        return FolderStore(self.folder, {name: self.files[name] for name in names})

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the bytes of each of these files. Raises FaceganError when one is gone or no longer the one that was listed."""
        for name in names:
            try:
                content = (self.folder / name).read_bytes()
            except OSError as error:
                raise FaceganError(f"expected a photo in {self.folder / name}; found {error.strerror}; {LIST_AGAIN}") from None
            if hashlib.sha256(content).hexdigest() != self.files[name]:
                raise FaceganError(f"expected {self.folder / name} as it was listed; found other contents; {LIST_AGAIN}")
            yield content


class Photos:
    """Names and bytes of the photos. It can be pickled, and handed to worker processes."""

    def __init__(self, manifest: Manifest, store: Store, names: list[str] | None = None):
        self.manifest = manifest
        self.store = store
        self.names = choose_photos(store.list_names(), manifest.limit) if names is None else names

    def read_all(self) -> Iterator[bytes]:
        """Yields each photo's bytes, still encoded. Raises FaceganError when one is missing, changed or damaged."""
        return self.store.read_all(self.names)

    def select(self, names: list[str]) -> "Photos":
        """Returns some of the photos: what a worker process needs for one piece of its work."""
        return Photos(self.manifest, self.store.select(names), names)

    def read_partition(self) -> dict[str, int] | None:
        """Returns 0 (train), 1 (validation) or 2 (test) by file name, from CelebA's list; None when there is no list.

        Raises:
            FaceganError: the list is there but is no table of ``image_id,partition``.
        """
        lists = sorted(name for name in self.store.list_names() if name.split("/")[-1] == PARTITION and is_visible(name))
        if not lists:
            return None
        [content] = self.store.read_all(lists[:1])
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig", errors="replace")))
        try:
            return {row["image_id"]: int(row["partition"]) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise FaceganError(f"expected columns image_id,partition in {lists[0]}; found {error!r} missing or not a number; mend the list") from None


def is_visible(name: str) -> bool:
    """Returns whether no part of the name is hidden and it is none of the copies that macOS adds to archives."""
    return not any(part == "__MACOSX" or (part.startswith(".") and part != ".") for part in name.split("/"))


def is_photo(name: str) -> bool:
    """Returns whether the name is that of a visible image file."""
    return name.lower().endswith(SUFFIXES) and is_visible(name)


def choose_photos(names: Iterable[str], limit: int | None) -> list[str]:
    """Returns the names that are photos, each once, in plain order; only the first ``limit`` when one is given."""
    return sorted({name for name in names if is_photo(name)})[:limit]


def open_photos(raw: Path) -> Photos:
    """Returns the photos that the download stage left in ``raw``.

    Raises:
        FaceganError: no manifest, or what it names is missing, or has another size, or is no archive.
    """
    manifest = read_manifest(raw)
    if manifest.archive is None:
        return Photos(manifest, FolderStore(Path(manifest.folder), read_files(raw, manifest)))
    archive = raw / manifest.archive
    if not archive.is_file():
        raise FaceganError(f"expected the archive {archive}; found no such file; run the download stage again")
    if archive.stat().st_size != manifest.bytes:
        raise FaceganError(f"expected {manifest.bytes} bytes in {archive}; found {archive.stat().st_size}; run the download stage again")
    return Photos(manifest, ZipStore(archive))


def read_manifest(raw: Path) -> Manifest:
    """Returns the manifest in ``raw``. Raises FaceganError when there is none or it is not one of ours."""
    path = raw / MANIFEST
    if not path.is_file():
        raise FaceganError(f"expected {path}; found no such file; run the download stage first")
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise FaceganError(f"expected a manifest in {path}; found something else ({error}); run the download stage again") from None


def write_manifest(raw: Path, manifest: Manifest) -> None:
    """Writes ``manifest.json`` into ``raw``: the last thing that a download does, so its presence means the rest is whole."""
    (raw / UNFINISHED).write_text(json.dumps(dataclasses.asdict(manifest), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(raw / UNFINISHED, raw / MANIFEST)


def read_files(raw: Path, manifest: Manifest) -> dict[str, str]:
    """Returns the sha256 of every listed file by name. Raises FaceganError when the list is not the manifest's."""
    path = raw / FILES
    if not path.is_file():
        raise FaceganError(f"expected {path}; found no such file; run the download stage again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise FaceganError(f"expected {path} as {MANIFEST} describes it; found other contents; run the download stage again")
    return json.loads(content)


def write_files(raw: Path, files: dict[str, str]) -> str:
    """Writes names and sha256 as ``files.json``, a line each, in plain order; returns the sha256 of what was written."""
    content = json.dumps(files, indent=0, sort_keys=True).encode()  # ASCII alone: a name may be no Unicode
    (raw / FILES).write_bytes(content)
    return hashlib.sha256(content).hexdigest()
