"""A zip file of photos, from the person's own disk."""

import os
import shutil
from pathlib import Path
from typing import Any

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, replace_file
from facegan.common.progress import Progress
from facegan.photos.manifest import ARCHIVE, Manifest
from facegan.photos.selection import choose_photos, is_list, is_photo, summarise
from facegan.photos.sources.given import find_given
from facegan.photos.store import read_one
from facegan.photos.zip_archive import ZipStore

LICENSE = "your own archive: its photos stay yours, and so does the duty to have the right to use them"


def take_archive(parameters: Any, raw: Path, home: Path) -> Manifest:
    """Copies the zip file at ``parameters.path`` into ``raw``.

    A hard link would spare the room, but DVC makes what it keeps read-only, and that would be the person's own file.

    Raises:
        FaceganError: no such file, no zip, a damaged one, or no room for it.
    """
    path = find_given(parameters.path, home, "a zip file")
    if path.is_dir():
        problem = f"data.path: expected a zip file at {printable(str(path))}; found a folder"
        raise FaceganError(f"{problem}; set data.source to folder, or give a zip that lies in it")
    check_archive(path)
    copy_file(path, raw / ARCHIVE)
    return describe_archive(parameters, raw / ARCHIVE, hash_file(raw / ARCHIVE), LICENSE)


def link_or_copy(path: Path, copy: Path) -> None:
    """Links a file out of our own cache, or copies it. Raises FaceganError when there is no room for it."""
    try:
        os.link(path.resolve(), copy)
    except (AttributeError, OSError):  # another disk, or a disk or system without links
        copy_file(path, copy)


def copy_file(path: Path, copy: Path) -> None:
    """Copies a file. Raises FaceganError when there is no room for it."""
    needed, free = path.stat().st_size, shutil.disk_usage(copy.parent).free
    if needed > free:
        raise FaceganError(
            f"expected {needed / 1e6:,.0f} MB of room in {copy.parent} for the archive; found {free / 1e6:,.0f} MB; make some"
        )
    with path.open("rb") as file, replace_file(copy) as there:
        shutil.copyfileobj(file, there)


def describe_archive(parameters: Any, archive: Path, sha256: str, license: str) -> Manifest:
    """Returns the manifest of an archive that lies in its place."""
    store = ZipStore(archive)
    photos, others = choose_photos(store.list_files(), lambda name: read_one(store, name), parameters)
    others["of a name that a later file has too"] += store.replaced
    return Manifest(
        source=parameters.source,
        path=parameters.path,
        archive=archive.name,
        folder=None,
        sha256=sha256,
        bytes=archive.stat().st_size,
        images=len(photos),
        license=license,
        only=parameters.only,
        where=parameters.where,
        limit=parameters.limit,
        left_out=summarise(others),
    )


def check_archive(path: Path) -> None:
    """Reads every member of a zip against its checksum.

    Raises:
        FaceganError: the first that is damaged, or a photo or list that is encrypted or compressed by an uncommon method.
    """
    store = ZipStore(path)
    names = [name for name, _ in store.list_files() if store.is_readable(name) or is_photo(name) or is_list(name)]
    with Progress(f"checking {printable(path.name)}", len(names), "files") as progress:
        for _ in store.check_all(names):
            progress.add(1)
