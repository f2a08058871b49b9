"""Reads the original photos from ``data/raw``: from one archive, or from a folder that was listed and not copied.

In: ``data/raw`` with ``manifest.json`` and either a zip archive or ``files.json`` (name and SHA-256 of every file in the folder).
Out: the photos' names in a fixed order, and the bytes of each.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from facegan.common.errors import FaceganError, printable
from facegan.photos.celeba import PARTITION, match_names, read_partition
from facegan.photos.given import find_given
from facegan.photos.labels import PhotoLabels, read_labels
from facegan.photos.manifest import REMEDY, Manifest, read_files, read_manifest, restore_name
from facegan.photos.selection import LARGEST_PHOTO_BYTES, choose_photos, find_photos, read_list
from facegan.photos.zip_archive import ZipStore

LIST_AGAIN = "run `dvc repro --force download` to list the folder again"


class Store(Protocol):
    """Files by name: the members of a zip archive, or the files in a folder."""

    def list_files(self) -> Iterable[tuple[str, int]]: ...

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]: ...

    def select(self, names: list[str]) -> "Store": ...


class FolderStore:
    """Files below a folder, each with its SHA-256 at the time it was listed."""

    def __init__(self, folder: Path, files: dict[str, str]):
        self.folder, self.files = folder, files

    def list_files(self) -> Iterator[tuple[str, int]]:
        """Yields each name, relative to the folder, and 1 as its size: empty files and files that are too large were not listed."""
        return ((name, 1) for name in self.files)

    def select(self, names: list[str]) -> "FolderStore":
        """Returns a store of these files only, small enough to send to another process."""
        return FolderStore(self.folder, {name: self.files[name] for name in names})

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the content of each file. Raises FaceganError if a file is missing or has changed since it was listed."""
        for name in names:
            path = printable(str(self.folder / name))
            try:
                with (self.folder / name).open("rb") as file:
                    content = file.read(LARGEST_PHOTO_BYTES + 1)  # the file may have grown
            except OSError as error:
                raise FaceganError(f"expected a photo in {path}; found {error.strerror}; {LIST_AGAIN}") from None
            if hashlib.sha256(content).hexdigest() != self.files[name]:
                raise FaceganError(f"expected {path} unchanged since it was listed; found different content; {LIST_AGAIN}")
            yield content


class Photos:
    """Names, content and labels of the photos. Can be pickled and sent to worker processes, which need no labels."""

    def __init__(self, manifest: Manifest, store: Store, names: list[str], labels: PhotoLabels | None = None):
        self.manifest, self.store, self.names, self.labels = manifest, store, names, labels

    def read_all(self) -> Iterator[bytes]:
        """Yields the content of each photo, still encoded. Raises FaceganError if one is missing, changed or damaged."""
        return self.store.read_all(self.names)

    def select(self, names: list[str]) -> "Photos":
        """Returns these photos only, to be sent to a worker process."""
        return Photos(self.manifest, self.store.select(names), names)

    def read_partition(self) -> dict[str, int] | None:
        """Returns 0 (train), 1 (validation) or 2 (test) by file name, from CelebA's list, or None if there is no list.

        Prints a line if the list does not contain all photos.

        Raises:
            FaceganError: the list is invalid.
        """
        listed = read_list(self.store.list_files(), lambda name: read_one(self.store, name), PARTITION)
        if listed is None:
            return None
        name, content = listed
        partition = match_names(read_partition(name, content), self.names)
        files = {photo.rpartition("/")[2] for photo in self.names}
        if len(partition) < len(files):
            print(f"{printable(name)} lists {len(partition):,} of {len(files):,} photos; the others are split by a hash", flush=True)
        return partition


def read_one(store: Store, name: str) -> bytes:
    """Returns the content of one file. Raises FaceganError if it is missing, changed or damaged."""
    [content] = store.read_all([name])
    return content


def open_photos(raw: Path, home: Path = Path()) -> Photos:
    """Returns the photos that the download stage left in ``raw``.

    Args:
        home: the project's folder, where a relative ``data.path`` starts.

    Raises:
        FaceganError: the manifest, its folder, archive or labels are missing or invalid, or the archive has another size.
    """
    manifest = read_manifest(raw)
    labels = read_labels(raw, manifest)
    if manifest.folder is not None:
        folder = FolderStore(find_given(restore_name(manifest.folder), home, "a folder of photos"), read_files(raw, manifest))
        names, _ = find_photos(folder.list_files())  # only selected photos (and CelebA's lists) were listed
        return Photos(manifest, folder, names, labels)
    archive = raw / str(manifest.archive)
    if not archive.is_file():
        raise FaceganError(f"expected the archive {archive}; found no such file; {REMEDY}")
    if archive.stat().st_size != manifest.bytes:
        raise FaceganError(f"expected {manifest.bytes} bytes in {archive}; found {archive.stat().st_size}; {REMEDY}")
    members = ZipStore(archive)
    photos = list(labels.photos) if labels else choose_photos(members.list_files(), lambda name: read_one(members, name), manifest)[0]
    return Photos(manifest, members, photos, labels)
