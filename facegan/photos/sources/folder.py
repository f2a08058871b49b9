"""A local folder of photos: listed, not copied."""

import contextlib
import errno
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from zipfile import is_zipfile

from facegan.common.errors import FaceganError, printable
from facegan.common.progress import Progress
from facegan.photos.formats import ARCHIVES
from facegan.photos.given import find_given
from facegan.photos.labels import choose_labelled_photos, write_labels
from facegan.photos.manifest import Manifest, escape_name, write_files
from facegan.photos.parameters import DataParameters
from facegan.photos.selection import HIDDEN, is_list, is_visible, summarise

LICENSE = "your own photos: mind the rights of those whom they show"
BROKEN, UPWARDS, IN_CLOUD = "broken links", "links to parent folders", "in the cloud only"
NO_PATH = (errno.ELOOP, errno.ENAMETOOLONG)  # a link to itself; a path that is too long to open
SF_DATALESS = 0x40000000  # macOS: the content is in iCloud
FILE_ATTRIBUTE_RECALL = 0x1000 | 0x400000  # Windows: offline, or recalled on access (OneDrive)


def list_folder(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Lists the photos and CelebA's lists in the folder at ``parameters.path`` and its subfolders, with the SHA-256 of each.

    Raises:
        FaceganError: there is no such folder, or a file or folder in it is not readable.
    """
    folder = find_given(str(parameters.path), home, "a folder of photos")
    if not folder.is_dir():
        is_archive = is_zipfile(folder) or folder.name.lower().endswith(ARCHIVES)
        found = "an archive; set data.source to archive" if is_archive else "a file; set data.path to the folder that contains it"
        raise FaceganError(f"data.path: expected a folder of photos at {printable(str(folder))}; found {found}")
    not_entered: Counter[str] = Counter()
    found_files = list(walk(folder, not_entered))
    photos, skipped, labels = choose_labelled_photos(found_files, lambda name: read_file(folder / name), parameters, {})
    files, total = {}, 0
    with Progress(f"listing {printable(folder.name)}", len(photos), "photos") as progress:
        for name in [*photos, *(name for name, _ in found_files if is_list(name))]:
            files[name], size = hash_photo(folder / name)
            total += size
            progress.add(1)
    return Manifest(
        **parameters.model_dump(exclude={"count", "style", "labels"}),
        archive=None,
        folder=escape_name(str(parameters.path)),
        sha256=write_files(raw, files),
        bytes=total,
        images=len(photos),
        license=LICENSE,
        left_out=summarise(not_entered + skipped),
        labels=write_labels(raw, labels),
    )


def walk(folder: Path, others: Counter[str]) -> Iterator[tuple[str, int]]:
    """Yields name (relative, with forward slashes) and size in bytes of each file in a folder and its subfolders.

    Links to folders are followed. Each folder is entered once, by its own path if that is inside ``folder``. Hidden folders and links to
    parent folders (which contain unrelated files) are skipped.

    Args:
        others: counts the folders and links that are skipped, by kind.

    Raises:
        FaceganError: a folder is not readable.
    """
    waiting: list[str] = [""]
    linked: list[str] = []
    seen: set[tuple[int, int]] = set()
    parents = {identify(parent) for parent in folder.parents}
    while waiting or linked:
        here = waiting.pop() if waiting else linked.pop(0)
        try:
            identity = identify(folder / here)
            if identity in seen:
                continue
            if identity in parents:
                others[UPWARDS] += 1
                continue
            seen.add(identity)
            with os.scandir(folder / here) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno not in NO_PATH:
                raise explain(folder / here, error) from None
            others[BROKEN] += 1
            continue
        for entry in entries:
            name = f"{here}/{entry.name}" if here else entry.name
            try:
                status = entry.stat()
            except OSError:
                others[BROKEN] += 1
                continue
            if stat.S_ISREG(status.st_mode):
                if is_placeholder(status):
                    others[IN_CLOUD] += 1
                else:
                    yield name, status.st_size
            elif not stat.S_ISDIR(status.st_mode):
                others["neither file nor folder"] += 1
            elif not is_visible(entry.name):
                others[f"{HIDDEN} folders"] += 1
            else:
                (linked if entry.is_symlink() else waiting).append(name)


def is_placeholder(status: os.stat_result) -> bool:
    """Returns whether a file's content is not on this computer: a cloud service would have to download it first."""
    flags, attributes = getattr(status, "st_flags", 0), getattr(status, "st_file_attributes", 0)
    return bool(flags & SF_DATALESS or attributes & FILE_ATTRIBUTE_RECALL)


def identify(folder: Path) -> tuple[int, int]:
    """Returns a folder's device and inode, which do not depend on the path."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def read_file(path: Path) -> bytes:
    """Returns a file's content. Raises FaceganError if it is not readable."""
    with explain_unreadable(path):
        return path.read_bytes()


def hash_photo(path: Path) -> tuple[str, int]:
    """Returns a file's SHA-256 and its size in bytes. Raises FaceganError if it is not readable."""
    with explain_unreadable(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


@contextlib.contextmanager
def explain_unreadable(path: Path) -> Iterator[None]:
    """Converts OSError to FaceganError."""
    try:
        yield
    except OSError as error:
        raise explain(path, error) from None


def explain(path: Path, error: OSError) -> FaceganError:
    """Returns the error for a file or folder that is not readable."""
    problem = f"expected to read {printable(str(path))}; found: {error.strerror}"
    return FaceganError(f"{problem}; correct its permissions, or move it out of the folder")
