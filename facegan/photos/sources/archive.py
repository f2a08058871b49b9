"""A local zip archive of photos, or a folder with several."""

import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, replace_file
from facegan.common.progress import Progress
from facegan.photos.given import find_given
from facegan.photos.labels import LISTS, choose_labelled_photos, write_labels
from facegan.photos.manifest import ARCHIVE, Manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.selection import find_photos, is_list, is_photo, summarise
from facegan.photos.store import read_one
from facegan.photos.zip_archive import ZipStore

LICENSE = "your own archive: its photos stay yours, and so does the duty to have the right to use them"
REPLACED = "replaced by a later file of the same name"


def take_archive(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Copies the zip archive at ``parameters.path``, or the photos of all zip archives in that folder, into ``raw``.

    A hard link would save space, but DVC makes its outputs read-only, and thus the user's own file.

    Raises:
        FaceganError: the archive is missing or damaged, or does not fit on the disk.
    """
    path = find_given(str(parameters.path), home, "a zip file")
    parts = sorted(path.glob("*.zip")) if path.is_dir() else [path]
    if not parts:
        problem = f"data.path: expected a zip file at {printable(str(path))}; found a folder"
        raise FaceganError(f"{problem}; set data.source to folder, or data.path to a zip file, or to a folder with zip files")
    for part in parts:
        check_archive(part)
    skipped: Counter[str] = Counter()
    if len(parts) == 1:
        copy_file(parts[0], raw / ARCHIVE)
    else:
        skipped = merge_archives(parts, raw / ARCHIVE, parameters.labels is not None)
    beside = [parts[0].with_name(name) for name in LISTS if parameters.labels]
    lists = {file.name: file.read_bytes() for file in beside if file.is_file()}
    return describe_archive(parameters, raw / ARCHIVE, hash_file(raw / ARCHIVE), LICENSE, skipped, lists)


def merge_archives(parts: list[Path], merged: Path, with_labels: bool) -> Counter[str]:
    """Writes the photos and lists of several archives, such as the parts of a Google Takeout, into one.

    Each archive becomes a folder, because their files may have the same names.

    Args:
        with_labels: also write the other files with labels.

    Returns:
        The number of files that were not copied, by kind.
    """
    skipped: Counter[str] = Counter()
    with (
        replace_file(merged) as file,
        zipfile.ZipFile(file, "w") as archive,
        Progress("merging", len(parts), "archives") as progress,
    ):
        for part in parts:
            store = ZipStore(part)
            photos, others = find_photos(store.list_files(), with_labels)
            skipped += others + Counter({REPLACED: store.replaced})
            names = [*photos, *(name for name in store.names if is_list(name, with_labels))]
            for name, content in zip(names, store.read_all(names), strict=True):
                archive.writestr(zipfile.ZipInfo(f"{part.stem}/{name}"), content)
            progress.add(1)
    return skipped


def link_or_copy(path: Path, copy: Path) -> None:
    """Creates a hard link to a file of our own cache, or copies it. Raises FaceganError if the disk is full."""
    try:
        os.link(path.resolve(), copy)
    except (AttributeError, OSError):  # another disk, or no hard links on this disk or system
        copy_file(path, copy)


def copy_file(path: Path, copy: Path) -> None:
    """Copies a file. Raises FaceganError if the disk is full."""
    needed, free = path.stat().st_size, shutil.disk_usage(copy.parent).free
    if needed > free:
        problem = f"expected {needed / 1e6:,.0f} MB of free space in {copy.parent} for the archive; found {free / 1e6:,.0f} MB"
        raise FaceganError(f"{problem}; free some")
    with path.open("rb") as source, replace_file(copy) as target:
        shutil.copyfileobj(source, target)


def describe_archive(
    parameters: DataParameters,
    archive: Path,
    sha256: str,
    license: str,
    skipped_before: Counter[str] | None = None,
    lists: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Returns the manifest of the archive in ``data/raw``, after writing the labels of its photos, if wanted.

    Args:
        skipped_before: number of files that were not copied into it, by kind.
        lists: files with labels that are not in the archive, by name.
    """
    store = ZipStore(archive)
    photos, skipped, labels = choose_labelled_photos(store.list_files(), lambda name: read_one(store, name), parameters, lists or {})
    skipped[REPLACED] += store.replaced
    return Manifest(
        **parameters.model_dump(exclude={"count", "labels"}),
        archive=ARCHIVE,
        folder=None,
        sha256=sha256,
        bytes=archive.stat().st_size,
        images=len(photos),
        license=license,
        left_out=summarise(skipped + (skipped_before or Counter())),
        labels=write_labels(archive.parent, labels),
    )


def check_archive(path: Path) -> None:
    """Compares every file in an archive with its checksum.

    Raises:
        FaceganError: a file is damaged, or a photo or list is encrypted or compressed by an unsupported method.
    """
    store = ZipStore(path)
    names = [name for name, _ in store.list_files() if store.is_readable(name) or is_photo(name) or is_list(name)]
    with Progress(f"checking {printable(path.name)}", len(names), "files") as progress:
        for chunks in store.stream_all(names):
            for _ in chunks:
                pass
            progress.add(1)
