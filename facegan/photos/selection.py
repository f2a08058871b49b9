"""Which files are photos, and what is said about the others."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

from facegan.photos.celeba import LISTS
from facegan.photos.formats import FORMATS

SUFFIXES = tuple(FORMATS)
LARGEST_PHOTO_BYTES = 200_000_000  # of a file, unpacked: a JPEG of 200 megapixels has half of that, a TIFF of 30 with 16 bits all of it
TOO_LARGE = f"over {LARGEST_PHOTO_BYTES // 10**6} MB"
HIDDEN = "hidden"
MOST_KINDS = 12  # that are told apart


def is_visible(name: str) -> bool:
    """Returns whether no part of the name is hidden and it is none of the copies that macOS adds to archives."""
    return not any(part == "__MACOSX" or (part.startswith(".") and part != ".") for part in name.split("/"))


def is_photo(name: str) -> bool:
    """Returns whether the name is that of a visible image file."""
    return name.lower().endswith(SUFFIXES) and is_visible(name)


def is_list(name: str) -> bool:
    """Returns whether the name is that of one of CelebA's lists."""
    return PurePosixPath(name).name in LISTS and is_visible(name)


def choose_photos(files: Iterable[tuple[str, int]]) -> tuple[list[str], Counter[str]]:
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


def summarise(others: Counter[str]) -> dict[str, int]:
    """Returns the counts, largest first, those of rare kinds together: a foreign archive may have a million suffixes."""
    common = [(kind, count) for kind, count in others.most_common(MOST_KINDS) if count]
    rest = others.total() - sum(count for _, count in common)
    return dict(common) | ({"other kinds": rest} if rest else {})
