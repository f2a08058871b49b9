"""Images in a Parquet file, as on the Hugging Face hub, in one pass.

In: a Parquet file with a column of encoded images: bytes, or the hub's struct of ``bytes`` and ``path``. Out: name and content of each
image, and the other columns of each row that have single values, such as labels; the hub's class labels as their names.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from facegan.common.errors import FaceganError, printable
from facegan.common.progress import Progress
from facegan.photos.formats import FORMATS, find_suffix

if TYPE_CHECKING:
    import pyarrow

MAGIC = b"PAR1"
ROWS = 32  # in memory at a time
Row = dict[str, Any]


class ParquetImages:
    """A Parquet file with images.

    Attributes:
        column: the image column; None: the file has none.
        labels: the columns with single values, and the names of the values of those with class labels.

    Raises:
        FaceganError: the package pyarrow is missing, or the file is damaged.
    """

    def __init__(self, path: Path):
        try:
            import pyarrow.parquet
        except ImportError:
            problem = f"expected the package pyarrow, to read {printable(str(path))}; found none"
            raise FaceganError(f"{problem}; run: pip install pyarrow") from None
        self.path = path
        with self.explain_damage():
            self.file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)  # one page in memory, not a row group
            schema = self.file.schema_arrow
        self.column = find_image_column(schema)
        names = read_class_names(schema.metadata or {})
        single = [field.name for field in schema if is_single(field.type) and field.name != self.column]
        self.labels = {name: names.get(name) for name in single}

    def explain_damage(self) -> "ExplainDamage":
        """Returns a context manager that converts pyarrow's errors to FaceganError."""
        return ExplainDamage(self.path)

    def read(self) -> Iterator[tuple[str, bytes | None, Row]]:
        """Yields the name, the content (None: missing) and the labels of each row. A name is the row's number and the original suffix."""
        columns = [*self.labels, *([self.column] if self.column else [])]
        with self.explain_damage(), Progress(f"reading {printable(self.path.name)}", self.file.metadata.num_rows, "rows") as progress:
            number = 0
            for batch in self.file.iter_batches(batch_size=ROWS, columns=columns, use_threads=False):
                for row in batch.to_pylist():
                    image = row.pop(self.column) if self.column else None
                    content, path = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
                    suffix = PurePosixPath(path or "").suffix.lower()
                    suffix = suffix if suffix in FORMATS else find_suffix(content or b"")
                    labels = {name: self.name_label(name, value) for name, value in row.items()}
                    yield f"{number:08d}{suffix}", content, labels | ({"path": path} if content is None and path else {})
                    number += 1
                progress.add(len(batch))

    def name_label(self, column: str, value: Any) -> Any:
        """Returns a class label's name, and any other value unchanged."""
        names = self.labels[column]
        return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value


class ExplainDamage:
    """Converts pyarrow's errors to FaceganError."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        import pyarrow

        if isinstance(error, pyarrow.ArrowException | OSError | ValueError | OverflowError):
            found = printable(" ".join(str(error).split()))[:200]
            problem = f"expected a Parquet file without errors in {self.path}; found damage ({found})"
            raise FaceganError(f"{problem}; get the file again") from None


def find_image_column(schema: "pyarrow.Schema") -> str | None:
    """Returns the name of the first column with encoded images, or None."""
    from pyarrow import types

    for field in schema:
        kind = field.type
        if types.is_binary(kind) or types.is_large_binary(kind):
            return field.name
        if types.is_struct(kind) and {"bytes", "path"} <= {part.name for part in kind}:
            return field.name
    return None


def is_single(kind: "pyarrow.DataType") -> bool:
    """Returns whether values of this type are single: a number, a truth value or a text."""
    from pyarrow import types

    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string))


def read_class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Returns the names of the values of each column with class labels, from the hub's description in the file."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"].items()
        return {name: list(feature["names"]) for name, feature in features if feature.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
