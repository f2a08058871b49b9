"""The photos as they came: one archive, or a folder of loose photos left where it is.

In: ``data/raw``, which holds ``manifest.json`` and either one zip archive or, for a folder, ``files.json`` with the name and
the sha256 of every file, so that no photo is copied. Out: the photos' names in a fixed order, and the bytes of each.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from facegan.common.errors import FaceganError, printable
from facegan.photos.celeba import LARGEST_LIST_BYTES, PARTITION, match_names, read_partition
from facegan.photos.manifest import REMEDY, Manifest, read_files, read_manifest, restore_name
from facegan.photos.selection import LARGEST_PHOTO_BYTES, choose_photos, is_visible
from facegan.photos.zip_archive import ZipStore

LIST_AGAIN = "run `dvc repro --force download` to list the folder again"


class Store(Protocol):
    """Where bytes lie under names: a zip file, or a folder."""

    def list_files(self) -> Iterable[tuple[str, int]]: ...

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]: ...

    def select(self, names: list[str]) -> "Store": ...


class FolderStore:
    """Loose files below a folder, each with the sha256 that it had when it was listed."""

    def __init__(self, folder: Path, files: dict[str, str]):
        self.folder, self.files = folder, files

    def list_files(self) -> Iterator[tuple[str, int]]:
        """Yields the names relative to the folder, with forward slashes; and no size, since none too large was listed."""
        return ((name, 0) for name in self.files)

    def select(self, names: list[str]) -> "FolderStore":
        """Returns a store of these files alone, small enough to be sent to another process."""
        return FolderStore(self.folder, {name: self.files[name] for name in names})

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the bytes of each of these files. Raises FaceganError when one is gone or no longer the one that was listed."""
        for name in names:
            path = printable(str(self.folder / name))
            try:
                with (self.folder / name).open("rb") as file:
                    content = file.read(LARGEST_PHOTO_BYTES + 1)  # it may have grown since
            except OSError as error:
                raise FaceganError(f"expected a photo in {path}; found {error.strerror}; {LIST_AGAIN}") from None
            if hashlib.sha256(content).hexdigest() != self.files[name]:
                raise FaceganError(f"expected {path} as it was listed; found other contents; {LIST_AGAIN}")
            yield content


class Photos:
    """Names and bytes of the photos. It can be pickled, and handed to worker processes."""

    def __init__(self, manifest: Manifest, store: Store, names: list[str] | None = None):
        self.manifest = manifest
        self.store = store
        self.names = choose_photos(store.list_files())[0][: manifest.limit] if names is None else names

    def read_all(self) -> Iterator[bytes]:
        """Yields each photo's bytes, still encoded. Raises FaceganError when one is missing, changed or damaged."""
        return self.store.read_all(self.names)

    def select(self, names: list[str]) -> "Photos":
        """Returns some of the photos: what a worker process needs for one piece of its work."""
        return Photos(self.manifest, self.store.select(names), names)

    def read_partition(self) -> dict[str, int] | None:
        """Returns 0 (train), 1 (validation) or 2 (test) by file name, from CelebA's list; None when there is no list.

        Says so where the list has some of the photos only.

        Raises:
            FaceganError: the list is there but is no such list, or has none of the photos.
        """
        listed = self.read_list(PARTITION)
        if listed is None:
            return None
        name, content = listed
        partition = match_names(read_partition(name, content), self.names)
        files = {photo.rpartition("/")[2] for photo in self.names}
        if files and not partition:
            problem = f"expected the photos in {printable(name)}; found none of {len(files):,} there, such as {printable(min(files))}"
            raise FaceganError(f"{problem}; take the list away, or give the photos the names that it has")
        if len(partition) < len(files):
            print(f"{printable(name)} has {len(partition):,} of {len(files):,} photos; a hash decides which of the others are held out", flush=True)
        return partition

    def read_list(self, files: tuple[str, ...]) -> tuple[str, bytes] | None:
        """Returns name and bytes of the first list under one of these file names, or None. Raises FaceganError when it is too large."""
        lists = sorted((name, size) for name, size in self.store.list_files() if name.rpartition("/")[2] in files and is_visible(name))
        if not lists:
            return None
        name, size = lists[0]
        if size > LARGEST_LIST_BYTES:
            raise FaceganError(f"expected a list of at most {LARGEST_LIST_BYTES:,} bytes in {printable(name)}; found {size:,}; mend it or take it away")
        [content] = self.store.read_all([name])
        return name, content


def open_photos(raw: Path) -> Photos:
    """Returns the photos that the download stage left in ``raw``.

    Raises:
        FaceganError: no manifest, or what it names is missing, or has another size, or is no archive.
    """
    manifest = read_manifest(raw)
    if manifest.archive is None:
        return Photos(manifest, FolderStore(Path(restore_name(manifest.folder)), read_files(raw, manifest)))
    archive = raw / manifest.archive
    if not archive.is_file():
        raise FaceganError(f"expected the archive {archive}; found no such file; {REMEDY}")
    if archive.stat().st_size != manifest.bytes:
        raise FaceganError(f"expected {manifest.bytes} bytes in {archive}; found {archive.stat().st_size}; {REMEDY}")
    return Photos(manifest, ZipStore(archive))
