"""A folder of photos on the person's own disk: listed, not copied."""

import contextlib
import hashlib
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from facegan.common.errors import FaceganError, printable
from facegan.common.progress import Progress
from facegan.photos.manifest import Manifest, escape_name, write_files
from facegan.photos.selection import HIDDEN, choose_photos, is_list, is_visible, summarise
from facegan.photos.sources.given import find_given

LICENSE = "your own photos: mind the rights of those whom they show"
BROKEN, UPWARDS = "broken links", "links to folders above"


def list_folder(parameters: Any, raw: Path, home: Path) -> Manifest:
    """Lists the photos in the folder at ``parameters.path``, and in all folders in it, with the sha256 of each.

    CelebA's lists are listed with them, where there are any.

    Raises:
        FaceganError: no such folder, or a photo or folder that may not be read.
    """
    folder = find_given(parameters.path, home, "a folder of photos")
    if not folder.is_dir():
        found = "a zip file; set data.source to archive" if zipfile.is_zipfile(folder) else "a file; give the folder that it lies in"
        raise FaceganError(f"data.path: expected a folder of photos at {printable(str(folder))}; found {found}")
    others: Counter[str] = Counter()
    found = list(walk(folder, others))
    photos, unread = choose_photos(found, lambda name: read_file(folder / name), parameters)
    lists = [name for name, _ in found if is_list(name)]
    files, total = {}, 0
    with Progress(f"listing {printable(folder.name)}", len(photos), "photos") as progress:
        for name in [*photos, *lists]:
            files[name], size = hash_photo(folder / name)
            total += size
            progress.add(1)
    return Manifest(
        source=parameters.source,
        path=parameters.path,
        archive=None,
        folder=escape_name(str(folder)),
        sha256=write_files(raw, files),
        bytes=total,
        images=len(photos),
        license=LICENSE,
        only=parameters.only,
        where=parameters.where,
        limit=parameters.limit,
        left_out=summarise(others + unread),
    )


def walk(folder: Path, others: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yields name, relative to the folder and with forward slashes, and bytes of each file in it and in the folders below.

    Linked folders are followed, each folder once: under its own name where it has one here. Hidden folders are not looked into, and
    links to folders above would bring in what nobody meant.

    Args:
        others: where folders and links are counted that are not taken.

    Raises:
        FaceganError: a folder may not be read.
    """
    waiting, linked, seen = [""], [], set()
    above = {identify(parent) for parent in folder.parents}
    while waiting or linked:
        here = waiting.pop() if waiting else linked.pop(0)
        identity = identify(folder / here)
        if identity in seen:
            continue
        if identity in above:
            others[UPWARDS] += 1
            continue
        seen.add(identity)
        for entry in list_entries(folder / here):
            name = f"{here}/{entry.name}" if here else entry.name
            if entry.is_file():
                yield name, entry.stat().st_size
            elif not entry.is_dir():
                others[BROKEN if entry.is_symlink() else "neither file nor folder"] += 1
            elif not is_visible(entry.name):
                others[f"{HIDDEN} folders"] += 1
            else:
                (linked if entry.is_symlink() else waiting).append(name)


def identify(folder: Path) -> tuple[int, int]:
    """Returns what is the same for a folder by whatever way one comes to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def list_entries(folder: Path) -> list[os.DirEntry]:
    """Returns what lies in a folder, by name. Raises FaceganError when it may not be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        found = f"found: {error.strerror}; mend its permissions, or take it out of the folder"
        raise FaceganError(f"expected to read the folder {printable(str(folder))}; {found}") from None


def read_file(path: Path) -> bytes:
    """Returns a file's bytes. Raises FaceganError when it may not be read."""
    with open_file(path) as file:
        return file.read()


def hash_photo(path: Path) -> tuple[str, int]:
    """Returns a file's sha256 and its bytes. Raises FaceganError when it may not be read."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file. Raises FaceganError when it may not be read."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        found = f"found: {error.strerror}; mend its permissions, or take it out of the folder"
        raise FaceganError(f"expected to read {printable(str(path))}; {found}") from None
