"""The lists that come with CelebA's photos: who is kept from training, and what can be seen on each.

In: the lists as CelebA's authors give them (blanks between the columns) and as Kaggle does (commas, a header). Out: values by the
photos' file names, under any suffix: where the photos were converted to PNG the lists still say ``.jpg``.
"""

import io
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from facegan.common.config import suggest
from facegan.common.errors import FaceganError, printable

PARTITION = ("list_eval_partition.csv", "list_eval_partition.txt")
ATTRIBUTES = ("list_attr_celeba.csv", "list_attr_celeba.txt")
LISTS = (*PARTITION, *ATTRIBUTES)
LARGEST_LIST_BYTES = 100_000_000  # CelebA's longest has 27


def read_partition(name: str, content: bytes) -> dict[str, int]:
    """Returns 0 (train), 1 (validation) or 2 (test) by file name, as a list in the file ``name`` has it.

    Raises:
        FaceganError: it is no table of a file and its partition.
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
            raise ValueError(f"{partitions[unknown].iloc[0]!r} beside {files[unknown].iloc[0]!r}")
    except (ValueError, IndexError) as error:
        found = " ".join(str(error).split())
        problem = f"expected a file's name and its partition, 0, 1 or 2, in each line of {printable(name)}; found {printable(found)}"
        raise FaceganError(f"{problem}; mend the list or take it away") from None
    return dict(zip(files, partitions.astype(int), strict=True))


def read_attributes(name: str, content: bytes, where: Mapping[str, int]) -> dict[str, int]:
    """Returns 1 by file name for each that has all the attributes as ``where`` wants them, and 0 for the others.

    Args:
        where: 1 or -1 by attribute.

    Raises:
        FaceganError: the list is none, or has no such attribute.
    """
    import pandas

    text = content.decode("utf-8-sig", errors="replace")
    first, _, rest = text.partition("\n")
    if first.strip().isdecimal():  # CelebA's own list begins with the number of its lines
        text, first = rest, rest.partition("\n")[0]
    with_commas = "," in first
    known = [column.strip() for column in first.split(",")[1:]] if with_commas else first.split()
    unknown = [attribute for attribute in where if attribute not in known]
    if unknown:
        hint = suggest(unknown[0], known) or f"; it has {', '.join(known[:50])}"
        raise FaceganError(f"data.where: expected attributes of {printable(name)}; found {unknown[0]}{printable(hint)}")
    try:
        table = pandas.read_csv(io.StringIO(text), sep="," if with_commas else r"\s+", index_col=0)
        if not table[list(where)].isin([1, -1]).all(axis=None):
            raise ValueError("another value")
        fits = (table[list(where)] == pandas.Series(where)).all(axis=1)
    except (ValueError, KeyError, IndexError) as error:
        problem = f"expected 1 or -1 for each attribute and file in {printable(name)}; found {printable(' '.join(str(error).split()))}"
        raise FaceganError(f"{problem}; mend the list or set data.where to null") from None
    return {str(file).strip(): int(fit) for file, fit in fits.items()}


def match_names(values: Mapping[str, int], photos: Iterable[str]) -> dict[str, int]:
    """Returns a list's values by the file names of those photos that it has, where need be under another suffix."""
    by_stem: dict[str, int | None] = {}
    for listed, value in values.items():
        stem = PurePosixPath(listed).stem
        by_stem[stem] = value if by_stem.setdefault(stem, value) == value else None  # None: two suffixes that disagree
    files = {photo.rpartition("/")[2] for photo in photos}
    found = ((file, values.get(file, by_stem.get(PurePosixPath(file).stem))) for file in files)
    return {file: value for file, value in found if value is not None}
