"""Labels of the photos: the columns in ``data.labels``, from one of these sources.

========================================  ======================================================================================
source                                    columns
========================================  ======================================================================================
``list_attr_celeba.csv`` or ``.txt``      CelebA's attributes; -1 becomes 0
``metadata.csv`` or ``metadata.jsonl``    all; ``file_name`` is the photo's path from there (the ImageFolder convention of Hugging Face)
``dataset.json``                          ``label`` (StyleGAN's data sets)
folders                                   ``folder``: the first part in which the photos' paths differ
========================================  ======================================================================================

The files are searched in the archive or folder, and next to the archive. Out: ``labels.json`` in ``data/raw``, with the value of each
column for each photo. Photos without a value in one of the columns are skipped. Values that differ only in case are one value.
"""

import csv
import io
import json
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from facegan.common.config import suggest
from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file, read_json, write_text
from facegan.common.labels import MOST_VALUES
from facegan.photos.celeba import ATTRIBUTES, decode_text, describe_error, list_attributes, match_names, read_attributes
from facegan.photos.manifest import LABELS, REMEDY, Manifest, escape_name, restore_name
from facegan.photos.parameters import DataParameters
from facegan.photos.selection import METADATA, choose_photos, read_list

FOLDER, LABEL, FILE_NAME = "folder", "label", "file_name"
LISTS = (*METADATA, *ATTRIBUTES)
SHOWN = 50  # names in a message


class PhotoLabels(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The labels of the selected photos.

    Attributes:
        columns: the values of each column, numbers by size, others by name.
        photos: the position of the value in each column, by the photo's name.
    """

    columns: dict[str, tuple[str, ...]]
    photos: dict[str, tuple[int, ...]]


class Table(NamedTuple):
    """What one source knows.

    Attributes:
        name: of the source, for messages.
        columns: all columns that it has.
        rows: for each photo the value of each wanted column, or an empty text.
    """

    name: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]


def choose_labelled_photos(
    files: Iterable[tuple[str, int]], read: Callable[[str], bytes], choice: DataParameters, lists: Mapping[str, bytes]
) -> tuple[list[str], Counter[str], PhotoLabels | None]:
    """Returns what ``choose_photos`` returns, and the labels of these photos, or None if ``choice.labels`` is null.

    Prints a line for values that differ only in case, and for listed files that are not among the photos.

    Args:
        lists: files with labels that are not among ``files``, by name.

    Raises:
        FaceganError: an error of ``choose_photos``; a column is unknown, or has one value or too many; a list is invalid.
    """
    files = list(files)
    if choice.labels is None:
        return *choose_photos(files, read, choice), None
    photos, skipped = choose_photos(files, read, choice.model_copy(update={"limit": None}))
    if not photos:
        return photos, skipped, None
    tables = [read_folders(photos, choice.labels)]
    if set(choice.labels) - {FOLDER}:
        found = [read_list([file], read, LISTS) for file in sorted(files) if posixpath.basename(file[0]) in LISTS]
        tables += [read_table(name, content, photos, choice.labels) for name, content in [*filter(None, found), *lists.items()]]
    rows: dict[str, list[str]] = {}
    for photo in photos:
        values = [
            next(filter(None, options), "") for options in zip(*(table.rows[photo] for table in tables if photo in table.rows), strict=True)
        ]
        missing = [column for column, value in zip(choice.labels, values, strict=True) if not value]
        if missing:
            skipped[f"without a value for {missing[0]}"] += 1
        elif choice.limit is None or len(rows) < choice.limit:
            rows[photo] = values
    check_columns(choice.labels, tables, rows)
    columns = {}
    codes = []
    for column, texts in zip(choice.labels, zip(*rows.values(), strict=True), strict=True):
        columns[column], positions = encode_values(column, texts)
        codes.append(positions)
    return list(rows), skipped, PhotoLabels(columns=columns, photos=dict(zip(rows, zip(*codes, strict=True), strict=True)))


def check_columns(wanted: Sequence[str], tables: Sequence[Table], rows: Mapping[str, Sequence[str]]) -> None:
    """Raises FaceganError if a column is unknown, or if no photo has a value in all of them."""
    known = list(dict.fromkeys(column for table in tables for column in table.columns))
    names = ", ".join(printable(table.name) for table in tables[1:])
    for column in wanted:
        if column not in known:
            found = f"{printable(column)}{printable(suggest(column, known))}; the columns are {printable(', '.join(known[:SHOWN]))}"
            where = f"of {names}" if names else f"of {', '.join(LISTS)}, or {FOLDER}"
            raise FaceganError(f"data.labels: expected columns {where}; found {found}")
    if not rows:
        raise FaceganError(
            f"data.labels: expected photos with a value for {', '.join(map(printable, wanted))}; found none; "
            f"compare the names in {names or 'the folders'} with the photos' paths"
        )


def encode_values(column: str, texts: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Returns the sorted values of a column, and the position of the value for each photo.

    Of values that differ only in case the most frequent one is used for all; a line reports it.

    Raises:
        FaceganError: there is one value, or more than MOST_VALUES.
    """
    spellings: dict[str, list[str]] = {}
    for text, _ in sorted(Counter(texts).items(), key=lambda item: (-item[1], item[0])):
        spellings.setdefault(text.casefold(), []).append(text)
    for first, *others in spellings.values():
        if others:
            print(f"data.labels: {printable(column)}: {printable(', '.join(others))} is read as {printable(first)}", flush=True)
    values = sorted((same[0] for same in spellings.values()), key=sort_key(spellings))
    if not 2 <= len(values) <= MOST_VALUES:
        found = (
            f"one: {values[0]}, in the {len(texts):,} photos with a value in every column"
            if len(values) == 1
            else f"{len(values):,}: {', '.join(values[:8])}, …"
        )
        remedy = "remove the column from data.labels" + ("" if len(values) == 1 else ", or group its values")
        raise FaceganError(f"data.labels: expected 2 to {MOST_VALUES} values of {printable(column)}; found {found}; {remedy}")
    positions = {value.casefold(): position for position, value in enumerate(values)}
    return tuple(values), [positions[text.casefold()] for text in texts]


def sort_key(values: Iterable[str]) -> Callable[[str], Any]:
    """Returns the key that sorts values: numbers by size if all are numbers, else by name."""
    try:
        [float(value) for value in values]
    except ValueError:
        return lambda value: (value.casefold(), value)
    return lambda value: (float(value), value)


def read_folders(photos: Sequence[str], wanted: Sequence[str]) -> Table:
    """Returns the column ``folder``: the first folder in which the photos' paths differ."""
    folders = [photo.split("/")[:-1] for photo in photos]
    depth = next((depth for depth, names in enumerate(zip(*folders, strict=False)) if len(set(names)) > 1), min(map(len, folders)))
    values = [(folder[depth : depth + 1] or [""])[0] for folder in folders]
    return Table(
        "the folders",
        [FOLDER],
        {photo: [value if column == FOLDER else "" for column in wanted] for photo, value in zip(photos, values, strict=True)},
    )


def read_table(name: str, content: bytes, photos: Sequence[str], wanted: Sequence[str]) -> Table:
    """Returns the labels in one file, by photo. Raises FaceganError if the file is invalid."""
    folder, _, file = name.rpartition("/")
    if file in ATTRIBUTES:
        columns = list_attributes(content)
        read = [column for column in wanted if column in columns]
        listed = match_names(read_attributes(name, content, read, "data.labels"), photos) if read else {}
        by_file = {file: dict(zip(read, ("1" if value > 0 else "0" for value in row), strict=True)) for file, row in listed.items()}
        found = ((photo, by_file.get(posixpath.basename(photo))) for photo in photos)
        return Table(name, columns, {photo: [row.get(column, "") for column in wanted] for photo, row in found if row})
    text = decode_text(content)
    if "\ufffd" in text:
        raise FaceganError(f"expected text in UTF-8 in {printable(name)}; found another encoding; save it as UTF-8")
    try:
        columns, pairs = {".csv": read_csv, ".jsonl": read_jsonl, ".json": read_dataset}[posixpath.splitext(file)[1]](text, wanted)
        names = {make_key(photo): photo for photo in photos}
        rows: dict[str, list[str]] = {}
        absent = []
        for listed_name, values in pairs:
            photo = names.get(make_key(posixpath.join(folder, listed_name)))
            if photo is None:
                absent.append(listed_name)
            elif rows.setdefault(photo, values) != values:
                raise ValueError(f"{listed_name} twice with different values")
    except (ValueError, TypeError, AttributeError, csv.Error, RecursionError) as error:
        raise FaceganError(f"expected labels in {printable(name)}; found {describe_error(error)}; correct the file") from None
    if absent:
        print(f"{printable(name)} lists {len(absent):,} files that are not among the photos, such as {printable(absent[0])}", flush=True)
    return Table(name, columns, rows)


def make_key(path: str) -> str:
    """Returns a path for comparison: with forward slashes, without ``./``, and with accents in one form."""
    return unicodedata.normalize("NFC", posixpath.normpath(path.replace("\\", "/")))


def read_csv(text: str, wanted: Sequence[str]) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """Returns the columns of a CSV file, and each file name with the values of the wanted columns.

    Raises ValueError or csv.Error if the file is invalid. Values may be separated by commas, semicolons or tabs.
    """
    for delimiter in ",;\t":
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
        header = [cell.strip() for cell in next(lines, [])]
        if FILE_NAME in header:
            break
    else:
        first = text.partition("\n")[0].strip()
        raise ValueError(f"no column {FILE_NAME} in its first line, {first!r}; call the column with the photos' names {FILE_NAME}")

    def read_lines() -> Iterator[tuple[str, list[str]]]:
        for line in lines:
            row = dict(zip(header, line, strict=False))
            if any(line[len(header) :]):
                raise ValueError(
                    f"{len(line)} values instead of {len(header)} in line {lines.line_num}; quote values that contain {delimiter!r}"
                )
            if row.get(FILE_NAME):
                yield row[FILE_NAME].strip(), [read_value(row.get(column)) for column in wanted]

    return [column for column in header if column != FILE_NAME], read_lines()


def read_jsonl(text: str, wanted: Sequence[str]) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """Returns what ``read_csv`` returns, of a file with one JSON object per line. Raises ValueError if the file is invalid."""
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    if not all(isinstance(row, dict) and isinstance(row.get(FILE_NAME), str) for row in rows):
        raise ValueError(f"a line without {FILE_NAME}")
    columns = list(dict.fromkeys(column for row in rows for column in row if column != FILE_NAME))
    return columns, ((row[FILE_NAME], [read_value(row.get(column)) for column in wanted]) for row in rows)


def read_dataset(text: str, wanted: Sequence[str]) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """Returns what ``read_csv`` returns, of StyleGAN's ``dataset.json``. Raises ValueError or TypeError if the file is invalid."""
    pairs = json.loads(text).get("labels") or []
    if not isinstance(pairs, list):
        raise ValueError("labels that are not a list")
    return [LABEL] if pairs else [], (
        (str(file), [read_value(label) if column == LABEL else "" for column in wanted]) for file, label in pairs
    )


def read_value(value: Any) -> str:
    """Returns a label as printable text; an empty one if there is none, or if it is a list."""
    return "" if value is None or isinstance(value, list | dict) else printable(unicodedata.normalize("NFC", str(value)).strip())


def write_labels(raw: Path, labels: PhotoLabels | None) -> str | None:
    """Writes ``labels.json`` and returns its SHA-256, or None without labels."""
    if labels is None:
        return None
    photos = {escape_name(name): positions for name, positions in labels.photos.items()}
    write_text(raw / LABELS, json.dumps({"columns": labels.columns, "photos": photos}, ensure_ascii=False) + "\n")
    return hash_file(raw / LABELS)


def read_labels(raw: Path, manifest: Manifest) -> PhotoLabels | None:
    """Returns the labels in ``raw``, or None without labels. Raises FaceganError if ``labels.json`` does not match the manifest."""
    if manifest.labels is None:
        return None
    if hash_file(raw / LABELS) != manifest.labels:
        raise FaceganError(f"expected {raw / LABELS} as the manifest describes it; found different content; {REMEDY}")
    labels = read_json(raw / LABELS, PhotoLabels, REMEDY)
    return labels.model_copy(update={"photos": {restore_name(name): positions for name, positions in labels.photos.items()}})
