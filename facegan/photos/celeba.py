"""CelebA's annotation lists: the train, validation and test partition, and the attributes.

In: a list in the authors' format (separated by spaces) or in Kaggle's (CSV with a header). Out: one value per file name. Names are also
matched without their suffix, because the lists contain ``.jpg`` even if the photos were converted to PNG.
"""

import codecs
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from facegan.common.config import suggest
from facegan.common.errors import FaceganError, printable

PARTITION = ("list_eval_partition.csv", "list_eval_partition.txt")
ATTRIBUTES = ("list_attr_celeba.csv", "list_attr_celeba.txt")
LISTS = (*PARTITION, *ATTRIBUTES)
LARGEST_LIST_BYTES = 100_000_000  # CelebA's largest list has 27 MB

Value = TypeVar("Value")


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


def list_attributes(content: bytes) -> list[str]:
    """Returns the names of the attributes in a list."""
    header = split_attributes(content)[0]
    return [name.strip() for name in header.split(",")[1:]] if "," in header else header.split()


def split_attributes(content: bytes) -> tuple[str, str]:
    """Returns the line with the names of the attributes, and the text from that line on."""
    text = decode_text(content)
    first, _, rest = text.partition("\n")
    if first.strip().isdecimal():  # the authors' list begins with the number of photos
        text, first = rest, rest.partition("\n")[0]
    return first, text


def read_attributes(name: str, content: bytes, attributes: Sequence[str], parameter: str) -> dict[str, tuple[int, ...]]:
    """Returns, by file name, the value of each of these attributes, 1 or -1.

    Args:
        name: the list's file name, for the error message.
        parameter: that names the attributes: "data.where".

    Raises:
        FaceganError: an attribute is not in the list, or one of its values is neither 1 nor -1.
    """
    import pandas

    known = list_attributes(content)
    unknown = [attribute for attribute in attributes if attribute not in known]
    if unknown:
        hint = suggest(unknown[0], known) or f"; the list has {', '.join(known[:50])}"
        raise FaceganError(f"{parameter}: expected attributes of {printable(name)}; found {unknown[0]}{printable(hint)}")
    header, text = split_attributes(content)
    try:
        table = pandas.read_csv(io.StringIO(text), sep="," if "," in header else r"\s+", index_col=0)
        table = table.rename(columns=str.strip)[list(attributes)]
        if not table.isin([1, -1]).all(axis=None):
            raise ValueError("another value")
        rows = table.astype(int).itertuples(name=None)
    except (ValueError, KeyError, IndexError) as error:
        problem = f"expected 1 or -1 for each attribute and file in {printable(name)}; found {describe_error(error)}"
        raise FaceganError(f"{problem}; correct the list or set {parameter} to null") from None
    return {str(file).strip(): tuple(values) for file, *values in rows}


def decode_text(content: bytes) -> str:
    """Returns a text in UTF-8, or in UTF-16 as spreadsheets write it; undecodable bytes become U+FFFD."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf16 else "utf-16-le" if content[1:2] == b"\0" else "utf-8-sig", errors="replace")


def describe_error(error: Exception) -> str:
    """Returns an error's text on one line, safe to print."""
    return printable(" ".join(str(error).split()))


def match_names(values: Mapping[str, Value], photos: Iterable[str]) -> dict[str, Value]:
    """Returns the listed values by the photos' file names, matched without the suffix where the full name is not listed."""
    by_stem = {PurePosixPath(listed).stem: value for listed, value in values.items()}
    files = {photo.rpartition("/")[2] for photo in photos}
    found = ((file, values.get(file, by_stem.get(PurePosixPath(file).stem))) for file in files)
    return {file: value for file, value in found if value is not None}
