"""A local archive of photos, or a folder with several: zip, tar (plain or compressed), or Parquet.

One zip archive is copied. From the others, the photos and lists are written into a zip archive in one pass, without unpacking them to disk.
"""

import json
import os
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, replace_file
from facegan.common.progress import Progress
from facegan.photos.celeba import LARGEST_LIST_BYTES
from facegan.photos.formats import ARCHIVES
from facegan.photos.given import find_given
from facegan.photos.labels import LISTS, choose_labelled_photos, write_labels
from facegan.photos.manifest import ARCHIVE, Manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.parquet_file import MAGIC, ParquetImages
from facegan.photos.selection import TOO_LARGE, find_photos, find_reason, is_list, is_photo, summarise
from facegan.photos.store import read_one
from facegan.photos.tar_archive import BLOCK_BYTES, is_tar, read_tar
from facegan.photos.zip_archive import ZipStore, open_archive

LICENSE = "your own archive: its photos stay yours, and so does the duty to have the right to use them"
REPLACED = "replaced by a later file of the same name"


def take_archive(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Copies the zip archive at ``parameters.path``, or the photos of another archive or of all archives in a folder, into ``raw``.

    A hard link would save space, but DVC makes its outputs read-only, and thus the user's own file.

    Raises:
        FaceganError: the archive is missing or damaged, or does not fit on the disk.
    """
    path = find_given(str(parameters.path), home, "an archive")
    parts = sorted(part for part in path.iterdir() if part.name.lower().endswith(ARCHIVES)) if path.is_dir() else [path]
    if not parts:
        problem = f"data.path: expected an archive at {printable(str(path))}; found a folder"
        raise FaceganError(f"{problem}; set data.source to folder, or data.path to an archive, or to a folder with archives")
    for part in parts:
        if find_kind(part) == "zip":
            check_archive(part)
    skipped: Counter[str] = Counter()
    if len(parts) == 1 and find_kind(parts[0]) == "zip":
        copy_file(parts[0], raw / ARCHIVE)
    else:
        skipped = merge_archives(parts, raw / ARCHIVE, parameters.labels is not None)
    candidates = [parts[0].with_name(name) for name in LISTS if parameters.labels]
    lists = {file.name: file.read_bytes() for file in candidates if file.is_file()}
    return describe_archive(parameters, raw / ARCHIVE, hash_file(raw / ARCHIVE), LICENSE, skipped, lists)


def merge_archives(parts: list[Path], merged: Path, with_labels: bool) -> Counter[str]:
    """Writes the photos and lists of archives, such as the parts of a Google Takeout, into one.

    Of several archives, each becomes a folder, because their files may have the same names.

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
            folder = f"{remove_suffix(part.name)}/" if len(parts) > 1 else ""
            skipped += copy_part(part, folder, archive, with_labels)
            progress.add(1)
    return skipped


def copy_part(part: Path, folder: str, archive: zipfile.ZipFile, with_labels: bool) -> Counter[str]:
    """Copies the photos and lists of one archive below ``folder``. Returns the number of other files, by kind."""
    return {"zip": copy_zip, "tar": copy_tar, "parquet": copy_parquet}[find_kind(part)](part, folder, archive, with_labels)


def copy_zip(part: Path, folder: str, archive: zipfile.ZipFile, with_labels: bool) -> Counter[str]:
    """Copies the photos and lists of a zip archive. Returns the number of other files, by kind."""
    store = ZipStore(part)
    photos, skipped = find_photos(store.list_files(), with_labels)
    names = [*photos, *(name for name in store.names if is_list(name, with_labels))]
    for name, content in zip(names, store.read_all(names), strict=True):
        archive.writestr(zipfile.ZipInfo(folder + name), content)
    return skipped + Counter({REPLACED: store.replaced})


def copy_tar(part: Path, folder: str, archive: zipfile.ZipFile, with_labels: bool) -> Counter[str]:
    """Copies the photos and lists of a tar archive. Returns the number of other files, by kind."""
    skipped: Counter[str] = Counter()

    def is_wanted(name: str, size: int) -> bool:
        return size <= LARGEST_LIST_BYTES if is_list(name, with_labels) else find_reason(name, size) is None

    for name, size, content in read_tar(part, is_wanted):
        if content is None:
            skipped[find_reason(name, size) or TOO_LARGE] += 1
        else:
            write_member(archive, folder + name, content)
    return skipped


def copy_parquet(part: Path, folder: str, archive: zipfile.ZipFile, with_labels: bool) -> Counter[str]:
    """Copies the images in a Parquet file, and its other columns as metadata.jsonl. Returns the number of rows without an image, by reason.

    Raises:
        FaceganError: the file has no column with images.
    """
    skipped: Counter[str] = Counter()
    images = ParquetImages(part)
    if images.column is None:
        problem = (
            f"expected a column of images, as bytes, in {printable(str(part))}; found the columns {printable(', '.join(images.labels))}"
        )
        raise FaceganError(f"{problem}; if they are paths, set data.source to folder, and data.path to the folder with the images")
    rows = []
    for name, content, labels in images.read():
        reason = "without an image" if content is None else find_reason(name, len(content))
        if content is None or reason:
            skipped[str(reason)] += 1
        else:
            write_member(archive, folder + name, content)
            rows.append(json.dumps({"file_name": name, **labels}))
    if with_labels and images.labels:
        write_member(archive, f"{folder}metadata.jsonl", "\n".join(rows).encode())
    return skipped


def has_images(part: Path) -> bool:
    """Returns whether a Parquet file has a column of images."""
    return ParquetImages(part).column is not None


def write_metadata(archive: zipfile.ZipFile, part: Path) -> None:
    """Writes the rows of a Parquet file without images as metadata.jsonl: its column ``path``, if there is one, becomes ``file_name``."""
    rows = [json.dumps({"file_name": row.pop("path", None), **row} if "path" in row else row) for _, _, row in ParquetImages(part).read()]
    write_member(archive, "metadata.jsonl", "\n".join(rows).encode())


def find_kind(part: Path) -> str:
    """Returns the kind of an archive, by its content: zip, tar or parquet; zip for any other file, which ZipStore then describes."""
    with open_archive(part) as file:
        start = file.read(BLOCK_BYTES)
    return "parquet" if start.startswith(MAGIC) else "tar" if is_tar(start) else "zip"


def remove_suffix(name: str) -> str:
    """Returns an archive's name without its suffix."""
    return name[: -len(next(filter(name.lower().endswith, ARCHIVES), ""))] if name.lower().endswith(ARCHIVES) else name


def write_member(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Writes a file that does not depend on the date, compressed, so that the result is not much larger than a compressed source."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a second file with this name: ZipStore counts them
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, compresslevel=1)


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
        **parameters.model_dump(exclude={"count", "style", "labels"}),
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
