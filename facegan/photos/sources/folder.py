"""A folder of photos on the person's own disk: listed, not copied."""

import hashlib
from pathlib import Path, PurePosixPath
from typing import Any

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.photos.store import PARTITION, Manifest, choose_photos, is_visible, write_files

LICENSE = "your own photos: mind the rights of those whom they show"


def list_folder(parameters: Any, raw: Path, home: Path) -> Manifest:
    """Lists the photos in the folder at ``parameters.path``, and in all folders in it, with the sha256 of each.

    CelebA's list of who is in which split is listed with them, where there is one.

    Raises:
        FaceganError: no such folder, or a photo that may not be read.
    """
    folder = (home / Path(parameters.path).expanduser()).resolve()
    if not folder.is_dir():
        raise FaceganError(f"data.path: expected a folder of photos at {folder}; found none; a relative path starts at the project's folder")
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    photos = choose_photos(found, limit=parameters.limit)
    lists = [name for name in found if PurePosixPath(name).name == PARTITION and is_visible(name)]
    files, size = {}, 0
    with Progress(f"listing {folder.name}", len(photos), "photos") as progress:
        for name in [*photos, *lists]:
            content = read_file(folder / name)
            files[name] = hashlib.sha256(content).hexdigest()
            size += len(content)
            progress.add(1)
    return Manifest(
        source=parameters.source,
        path=parameters.path,
        archive=None,
        folder=str(folder),
        sha256=write_files(raw, files),
        bytes=size,
        images=len(photos),
        license=LICENSE,
        limit=parameters.limit,
    )


def read_file(path: Path) -> bytes:
    """Returns a file's bytes. Raises FaceganError when it may not be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FaceganError(f"expected to read {path}; found: {error.strerror}; mend its permissions, or take it out of the folder") from None
