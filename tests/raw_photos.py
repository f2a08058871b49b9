"""Photos as zip archives and folders, and data/raw filled from them."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from facegan.photos.parameters import DataParameters
from facegan.photos.sources import download

SOURCES = pytest.mark.parametrize("source", ["archive", "folder"])


def write_zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> Path:
    """Writes files to a zip archive that does not depend on the date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
        archive.comment = comment
    return path


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    """Writes files to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def fill_raw(home: Path, source: str, path: str, **data: Any) -> Path:
    """Downloads the archive or folder at ``path`` into ``home``/raw, which is returned."""
    values = {"source": source, "path": path, "count": 1, "style": None, "only": None, "where": None, "limit": None, "labels": None} | data
    download(DataParameters(**values), home / "raw", home)
    return home / "raw"


def make_raw(home: Path, files: dict[str, bytes], source: str = "archive", compression: int = zipfile.ZIP_DEFLATED, **data: Any) -> Path:
    """Writes files to an archive or a folder, and downloads that into ``home``/raw, which is returned."""
    given = home / "given"
    write_zip(given, files, compression) if source == "archive" else write_folder(given, files)
    return fill_raw(home, source, str(given), **data)
