"""The photos as they came: one archive, or a folder of loose photos left where it is.

In: ``data/raw``, which holds ``manifest.json`` and either one zip archive or, for a folder, ``files.json`` with the name and
the sha256 of every file, so that no photo is copied. Out: the photos' names in a fixed order, and the bytes of each.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from facegan.common.errors import FaceganError, printable
from facegan.photos.celeba import PARTITION, match_names, read_partition
from facegan.photos.manifest import REMEDY, Manifest, read_files, read_manifest, restore_name
from facegan.photos.selection import LARGEST_PHOTO_BYTES, choose_photos, find_photos, read_list
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

    def __init__(self, manifest: Manifest, store: Store, names: list[str]):
        self.manifest, self.store, self.names = manifest, store, names

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
            FaceganError: the list is there but is no such list.
        """
        listed = read_list(self.store.list_files(), lambda name: read_one(self.store, name), PARTITION)
        if listed is None:
            return None
        name, content = listed
        partition = match_names(read_partition(name, content), self.names)
        files = {photo.rpartition("/")[2] for photo in self.names}
        if len(partition) < len(files):
            print(
                f"{printable(name)} has {len(partition):,} of {len(files):,} photos; a hash decides which of the others are held out",
                flush=True,
            )
        return partition


def read_one(store: Store, name: str) -> bytes:
    """Returns the bytes that lie under one name. Raises FaceganError when they are missing, changed or damaged."""
    [content] = store.read_all([name])
    return content


def open_photos(raw: Path) -> Photos:
    """Returns the photos that the download stage left in ``raw``.

    Raises:
        FaceganError: no manifest, or what it names is missing, or has another size, or is no archive.
    """
    manifest = read_manifest(raw)
    if manifest.archive is None:
        folder = FolderStore(Path(restore_name(manifest.folder)), read_files(raw, manifest))
        return Photos(manifest, folder, find_photos(folder.list_files())[0])  # those that are wanted were listed, and CelebA's lists
    archive = raw / manifest.archive
    if not archive.is_file():
        raise FaceganError(f"expected the archive {archive}; found no such file; {REMEDY}")
    if archive.stat().st_size != manifest.bytes:
        raise FaceganError(f"expected {manifest.bytes} bytes in {archive}; found {archive.stat().st_size}; {REMEDY}")
    members = ZipStore(archive)
    photos, _ = choose_photos(members.list_files(), lambda name: read_one(members, name), manifest)
    return Photos(manifest, members, photos)
