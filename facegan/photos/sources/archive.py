"""A zip file of photos, from the person's own disk."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.photos.store import ARCHIVE, Manifest, choose_photos
from facegan.photos.zip_archive import ZipStore

LICENSE = "your own archive: its photos stay yours, and so does the duty to have the right to use them"


def take_archive(parameters: Any, raw: Path, home: Path) -> Manifest:
    """Copies the zip file at ``parameters.path`` into ``raw``.

    A hard link would spare the room, but DVC makes what it keeps read-only, and that would be the person's own file.

    Raises:
        FaceganError: no such file, no zip, or a damaged one.
    """
    path = home / Path(parameters.path).expanduser()
    if not path.is_file():
        raise FaceganError(f"data.path: expected a zip file at {path}; found none; a relative path starts at the project's folder")
    check_archive(path)
    shutil.copyfile(path, raw / ARCHIVE)
    return describe_archive(parameters, raw / ARCHIVE, LICENSE)


def file_archive(parameters: Any, path: Path, raw: Path, license: str) -> Manifest:
    """Links an archive out of our own cache into ``raw``, or copies it, and returns its manifest."""
    archive = raw / ARCHIVE
    try:
        os.link(path.resolve(), archive)
    except OSError:  # another disk, or one without links
        shutil.copyfile(path, archive)
    return describe_archive(parameters, archive, license)


def describe_archive(parameters: Any, archive: Path, license: str) -> Manifest:
    """Returns the manifest of an archive that lies in its place."""
    with archive.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    images = len(choose_photos(ZipStore(archive).list_names(), limit=None))
    return Manifest(
        source=parameters.source,
        path=parameters.path,
        archive=archive.name,
        folder=None,
        sha256=sha256,
        bytes=archive.stat().st_size,
        images=min(images, parameters.limit or images),
        license=license,
        limit=parameters.limit,
    )


def check_archive(path: Path) -> None:
    """Reads every member of a zip against its checksum. Raises FaceganError at the first that is damaged."""
    store = ZipStore(path)
    names = store.list_names()
    with Progress(f"checking {path.name}", len(names), "files") as progress:
        for _ in store.read_all(names):
            progress.add(1)
