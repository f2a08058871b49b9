"""A folder of photos on the person's own disk: listed, not copied."""

import hashlib
from pathlib import Path
from typing import Any

from facegan.errors import FaceganError
from facegan.photos import Manifest, choose_photos, write_files
from facegan.progress import Progress

LICENSE = "your own photos: mind the rights of those whom they show"


def list_folder(parameters: Any, raw: Path, home: Path) -> Manifest:
    """Lists the photos in the folder at ``parameters.path``, and in all folders in it, with the sha256 of each.

    Raises:
        FaceganError: no such folder.
    """
    folder = (home / Path(parameters.path).expanduser()).resolve()
    if not folder.is_dir():
        raise FaceganError(f"data.path: expected a folder of photos at {folder}; found none; a relative path starts at the project's folder")
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = choose_photos(found, limit=parameters.limit)
    files, size = {}, 0
    with Progress(f"listing {folder.name}", len(names), "photos") as progress:
        for name in names:
            content = (folder / name).read_bytes()
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
        images=len(names),
        license=LICENSE,
        limit=parameters.limit,
    )
