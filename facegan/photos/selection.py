"""Selection of photos among the files of a source, and counts of the files that are skipped."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from facegan.common.errors import FaceganError, printable
from facegan.photos.celeba import ATTRIBUTES, LARGEST_LIST_BYTES, LISTS, match_names, read_attributes
from facegan.photos.formats import FORMATS
from facegan.photos.manifest import Manifest
from facegan.photos.parameters import DataParameters

SUFFIXES = tuple(FORMATS)
METADATA = ("metadata.csv", "metadata.jsonl", "dataset.json")  # of image folders (Hugging Face), and of StyleGAN's data sets
LARGEST_PHOTO_BYTES = 200_000_000  # uncompressed: above a JPEG of 200 megapixels (100 MB) and a 16-bit TIFF of 30 (180 MB)
TOO_LARGE = f"over {LARGEST_PHOTO_BYTES // 10**6} MB"
EMPTY, HIDDEN, NOT_ONLY, NOT_WHERE = "empty", "hidden", "excluded by data.only", "excluded by data.where"
MOST_KINDS = 12  # of skipped files that are listed separately


def is_visible(name: str) -> bool:
    """Returns whether no part of the name is hidden. The copies that macOS adds to archives count as hidden."""
    return not any(part == "__MACOSX" or (part.startswith(".") and part != ".") for part in name.split("/"))


def is_photo(name: str) -> bool:
    """Returns whether the name is that of a visible image file."""
    return name.lower().endswith(SUFFIXES) and is_visible(name)


def is_list(name: str, with_labels: bool = False) -> bool:
    """Returns whether the name is that of one of CelebA's lists or, if wanted, of another file with labels."""
    return PurePosixPath(name).name in (LISTS + METADATA if with_labels else LISTS) and is_visible(name)


def choose_photos(
    files: Iterable[tuple[str, int]], read: Callable[[str], bytes], choice: DataParameters | Manifest
) -> tuple[list[str], Counter[str]]:
    """Returns the sorted names of the selected photos, and the number of skipped files by kind.

    Args:
        files: name and size in bytes of each file.
        read: returns a file's content.

    Raises:
        FaceganError: ``choice.only`` or ``choice.where`` matches no photo, or the attribute list is missing or invalid.
    """
    files = list(files)
    photos, skipped = find_photos(files, choice.labels is not None)
    if choice.only and photos:
        matching = [name for name in photos if fnmatchcase(name, choice.only)]
        if not matching:
            problem = f"expected photos that match {printable(choice.only)}; found {describe_folders(photos)}"
            raise FaceganError(f"data.only: {problem}; correct the pattern")
        skipped[NOT_ONLY], photos = len(photos) - len(matching), matching
    if choice.where and photos:
        matching = filter_by_attributes(photos, choice.where, read_list(files, read, ATTRIBUTES))
        skipped[NOT_WHERE], photos = len(photos) - len(matching), matching
    return photos[: choice.limit], skipped


def find_photos(files: Iterable[tuple[str, int]], with_labels: bool = False) -> tuple[list[str], Counter[str]]:
    """Returns the sorted names of the files (name, size in bytes) that are photos, and the number of other files by kind.

    Args:
        with_labels: do not count the files that contain labels.
    """
    photos: set[str] = set()
    skipped: Counter[str] = Counter()
    for name, size in files:
        if is_list(name, with_labels):
            continue
        reason = find_reason(name, size)
        if reason:
            skipped[reason] += 1
        else:
            photos.add(name)
    return sorted(photos), skipped


def find_reason(name: str, size: int) -> str | None:
    """Returns why a file (size in bytes) is not read as a photo, or None for a photo."""
    if not is_visible(name):
        return HIDDEN
    if not is_photo(name):
        return PurePosixPath(name).suffix.lower() or "no suffix"
    return EMPTY if not size else TOO_LARGE if size > LARGEST_PHOTO_BYTES else None


def read_list(files: Iterable[tuple[str, int]], read: Callable[[str], bytes], names: tuple[str, ...]) -> tuple[str, bytes] | None:
    """Returns name and content of the first file with one of the names, or None. Raises FaceganError if it is too large for a list."""
    lists = sorted((name, size) for name, size in files if name.rpartition("/")[2] in names and is_visible(name))
    if not lists:
        return None
    name, size = lists[0]
    if size > LARGEST_LIST_BYTES:
        problem = f"expected a list of at most {LARGEST_LIST_BYTES:,} bytes in {printable(name)}; found {size:,}"
        raise FaceganError(f"{problem}; correct the list or remove it")
    return name, read(name)


def filter_by_attributes(photos: list[str], where: Mapping[str, int], listed: tuple[str, bytes] | None) -> list[str]:
    """Returns the photos with the attributes in ``where``. Raises FaceganError if there are none, or the list is missing or invalid."""
    if listed is None:
        raise FaceganError(f"data.where: expected {' or '.join(ATTRIBUTES)} with the photos; found neither; set data.where to null")
    name, content = listed
    matches = match_names(read_attributes(name, content, list(where), "data.where"), photos)
    matching = [photo for photo in photos if matches.get(photo.rpartition("/")[2]) == tuple(where.values())]
    if not matching:
        found = f"found none among {len(photos):,}, of which {printable(name)} lists {len(matches):,}"
        raise FaceganError(f"data.where: expected photos with {dict(where)}; {found}; require fewer attributes")
    return matching


def describe_folders(photos: list[str]) -> str:
    """Returns the number of photos in each of the five largest folders, for an error message."""
    folders = Counter(photo.rpartition("/")[0] for photo in photos)
    counts = [f"{count:,} in {printable(folder) or 'the top folder'}" for folder, count in folders.most_common(5)]
    return ", ".join(counts) + (" and others" if len(folders) > 5 else "")


def summarise(skipped: Counter[str]) -> dict[str, int]:
    """Returns the counts, largest first. Rare kinds are added up, because an untrusted archive may contain a million suffixes."""
    common = [(kind, count) for kind, count in skipped.most_common(MOST_KINDS) if count]
    rest = skipped.total() - sum(count for _, count in common)
    return dict(common) | ({"other kinds": rest} if rest else {})
