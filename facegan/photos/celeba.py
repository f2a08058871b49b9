"""CelebA's annotation lists: the train, validation and test partition, and the attributes.

In: a list in the authors' format (separated by spaces) or in Kaggle's (CSV with a header). Out: one value per file name. Names are also
matched without their suffix, because the lists contain ``.jpg`` even if the photos were converted to PNG.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from facegan.common.config import suggest
from facegan.common.errors import FaceganError, printable

PARTITION = ("list_eval_partition.csv", "list_eval_partition.txt")
ATTRIBUTES = ("list_attr_celeba.csv", "list_attr_celeba.txt")
LISTS = (*PARTITION, *ATTRIBUTES)
LARGEST_LIST_BYTES = 100_000_000  # CelebA's largest list has 27 MB


def read_partition(name: str, content: bytes) -> dict[str, int]:
    """Returns 0 (train), 1 (validation) or 2 (test) by file name.

    Args:
        name: the list's file name, for the error message.

    Raises:
        FaceganError: a line does not consist of a file name and a partition.
    """
    import pandas

    text = content.decode("utf-8-sig", errors="replace")
    separator = "," if "," in text.partition("\n")[0] else r"\s+"
    try:
        table = pandas.read_csv(io.StringIO(text), sep=separator, header=None, dtype=str)
        if list(table.iloc[0]) == ["image_id", "partition"]:
            table = table.iloc[1:]
        files, partitions = (table[column].str.strip() for column in table)
        unknown = ~partitions.isin(["0", "1", "2"])
        if unknown.any():
            raise ValueError(f"partition {partitions[unknown].iloc[0]!r} for {files[unknown].iloc[0]!r}")
    except (ValueError, IndexError) as error:
        problem = f"expected a file name and its partition (0, 1 or 2) in each line of {printable(name)}; found {describe_error(error)}"
        raise FaceganError(f"{problem}; correct the list or remove it") from None
    return dict(zip(files, partitions.astype(int), strict=True))


def read_attributes(name: str, content: bytes, where: Mapping[str, int]) -> dict[str, int]:
    """Returns, by file name, 1 if the photo has all the attribute values in ``where``, otherwise 0.

    Args:
        name: the list's file name, for the error message.
        where: the required value, 1 or -1, by attribute.

    Raises:
        FaceganError: an attribute is not in the list, or one of its values is neither 1 nor -1.
    """
    import pandas

    text = content.decode("utf-8-sig", errors="replace")
    first, _, rest = text.partition("\n")
    if first.strip().isdecimal():  # the authors' list begins with the number of photos
        text, first = rest, rest.partition("\n")[0]
    is_csv = "," in first
    known = [column.strip() for column in first.split(",")[1:]] if is_csv else first.split()
    unknown = [attribute for attribute in where if attribute not in known]
    if unknown:
        hint = suggest(unknown[0], known) or f"; the list has {', '.join(known[:50])}"
        raise FaceganError(f"data.where: expected attributes of {printable(name)}; found {unknown[0]}{printable(hint)}")
    try:
        table = pandas.read_csv(io.StringIO(text), sep="," if is_csv else r"\s+", index_col=0)
        if not table[list(where)].isin([1, -1]).all(axis=None):
            raise ValueError("another value")
        matches = (table[list(where)] == pandas.Series(where)).all(axis=1)
    except (ValueError, KeyError, IndexError) as error:
        problem = f"expected 1 or -1 for each attribute and file in {printable(name)}; found {describe_error(error)}"
        raise FaceganError(f"{problem}; correct the list or set data.where to null") from None
    return {str(file).strip(): int(match) for file, match in matches.items()}


def describe_error(error: Exception) -> str:
    """Returns an error's text on one line, safe to print."""
    return printable(" ".join(str(error).split()))


def match_names(values: Mapping[str, int], photos: Iterable[str]) -> dict[str, int]:
    """Returns the listed values by the photos' file names, matched without the suffix where the full name is not listed."""
    by_stem = {PurePosixPath(listed).stem: value for listed, value in values.items()}
    files = {photo.rpartition("/")[2] for photo in photos}
    found = ((file, values.get(file, by_stem.get(PurePosixPath(file).stem))) for file in files)
    return {file: value for file, value in found if value is not None}
