"""Which files are photos, which of the photos are wanted, and what is said about the rest."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Protocol

from facegan.common.errors import FaceganError, printable
from facegan.photos.celeba import ATTRIBUTES, LARGEST_LIST_BYTES, LISTS, match_names, read_attributes
from facegan.photos.formats import FORMATS

SUFFIXES = tuple(FORMATS)
LARGEST_PHOTO_BYTES = 200_000_000  # of a file, unpacked: a JPEG of 200 megapixels has half of that, a TIFF of 30 with 16 bits all of it
TOO_LARGE = f"over {LARGEST_PHOTO_BYTES // 10**6} MB"
HIDDEN, NOT_ONLY, NOT_WHERE = "hidden", "other than data.only", "other than data.where"
MOST_KINDS = 12  # that are told apart


class Choice(Protocol):
    """Which photos are wanted, as the section ``data`` and the manifest say it."""

    only: str | None
    where: Mapping[str, int] | None
    limit: int | None


def is_visible(name: str) -> bool:
    """Returns whether no part of the name is hidden and it is none of the copies that macOS adds to archives."""
    return not any(part == "__MACOSX" or (part.startswith(".") and part != ".") for part in name.split("/"))


def is_photo(name: str) -> bool:
    """Returns whether the name is that of a visible image file."""
    return name.lower().endswith(SUFFIXES) and is_visible(name)


def is_list(name: str) -> bool:
    """Returns whether the name is that of one of CelebA's lists."""
    return PurePosixPath(name).name in LISTS and is_visible(name)


def choose_photos(files: Iterable[tuple[str, int]], read: Callable[[str], bytes], choice: Choice) -> tuple[list[str], Counter[str]]:
    """Returns the names of the photos that are wanted, each once, in plain order; and how many other files of each kind there are.

    Args:
        files: name and bytes of each.
        read: how to get one's content.

    Raises:
        FaceganError: ``choice.only`` or ``choice.where`` fits none, or wants a list that is not there or has no such attribute.
    """
    files = list(files)
    photos, others = find_photos(files)
    if choice.only and photos:
        wanted = [name for name in photos if fnmatchcase(name, choice.only)]
        if not wanted:
            raise FaceganError(
                f"data.only: expected photos that fit {printable(choice.only)}; found {describe_folders(photos)}; mend the pattern"
            )
        others[NOT_ONLY], photos = len(photos) - len(wanted), wanted
    if choice.where and photos:
        wanted = keep_where(photos, choice.where, read_list(files, read, ATTRIBUTES))
        others[NOT_WHERE], photos = len(photos) - len(wanted), wanted
    return photos[: choice.limit], others


def find_photos(files: Iterable[tuple[str, int]]) -> tuple[list[str], Counter[str]]:
    """Returns the names of those files (name, bytes) that are photos, each once, in plain order; and how many others of each kind."""
    photos, others = set(), Counter()
    for name, size in files:
        if not is_visible(name):
            others[HIDDEN] += 1
        elif is_list(name):
            continue
        elif not is_photo(name):
            others[PurePosixPath(name).suffix.lower() or "no suffix"] += 1
        elif size > LARGEST_PHOTO_BYTES:
            others[TOO_LARGE] += 1
        else:
            photos.add(name)
    return sorted(photos), others


def read_list(files: Iterable[tuple[str, int]], read: Callable[[str], bytes], names: tuple[str, ...]) -> tuple[str, bytes] | None:
    """Returns name and content of the first file under one of these names, or None. Raises FaceganError when it is too large for a list."""
    lists = sorted((name, size) for name, size in files if name.rpartition("/")[2] in names and is_visible(name))
    if not lists:
        return None
    name, size = lists[0]
    if size > LARGEST_LIST_BYTES:
        raise FaceganError(
            f"expected a list of at most {LARGEST_LIST_BYTES:,} bytes in {printable(name)}; found {size:,}; mend it or take it away"
        )
    return name, read(name)


def keep_where(photos: list[str], where: Mapping[str, int], listed: tuple[str, bytes] | None) -> list[str]:
    """Returns those photos that have the attributes which ``where`` wants. Raises FaceganError when none has, or the list cannot tell."""
    if listed is None:
        raise FaceganError(f"data.where: expected {' or '.join(ATTRIBUTES)} beside the photos; found neither; set data.where to null")
    name, content = listed
    fits = match_names(read_attributes(name, content, where), photos)
    wanted = [photo for photo in photos if fits.get(photo.rpartition("/")[2])]
    if not wanted:
        found = f"found none of {len(photos):,}, of which {printable(name)} has {len(fits):,}"
        raise FaceganError(f"data.where: expected photos with {dict(where)}; {found}; want less")
    return wanted


def describe_folders(photos: list[str]) -> str:
    """Returns in which folders how many photos are, for an error."""
    folders = Counter(photo.rpartition("/")[0] for photo in photos)
    told = [f"{count:,} in {printable(folder) or 'no folder'}" for folder, count in folders.most_common(5)]
    return ", ".join(told) + (" and others elsewhere" if len(folders) > 5 else "")


def summarise(others: Counter[str]) -> dict[str, int]:
    """Returns the counts, largest first, those of rare kinds together: a foreign archive may have a million suffixes."""
    common = [(kind, count) for kind, count in others.most_common(MOST_KINDS) if count]
    rest = others.total() - sum(count for _, count in common)
    return dict(common) | ({"other kinds": rest} if rest else {})
