"""The section ``data`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le, MinLen
from pydantic import Strict

from facegan.common.config import ImageCount, Section, WholeNumber, find_path_problems


class DataParameters(Section):
    """The source and the selection of photos.

    Attributes:
        source: avatars (drawn by the program), kaggle, huggingface, folder or archive.
        path: ``owner/dataset`` (Kaggle; Hugging Face, also with ``@revision``), the folder, the archive (zip, tar or
            Parquet), or a folder of archives; relative paths start at the project folder.
        count: number of avatars.
        style: styles of DiceBear to draw the avatars in, such as ``[lorelei]``; of several, each face has one; null: Avataaars.
        only: a pattern for the photos' names, such as ``img_align_celeba/**``; ``*`` also matches slashes; null: all photos.
        where: required values in CelebA's attribute list, such as ``{Smiling: 1, Male: -1}``; null: no condition.
        limit: maximum number of photos; the first by name are used; null: no limit.
        labels: the columns of labels to learn, such as ``[Smiling, Eyeglasses]``; see ``facegan.photos.labels``; null: none.
    """

    source: Literal["avatars", "kaggle", "folder", "archive", "huggingface"]
    path: str | None
    count: Annotated[WholeNumber, Ge(1), Le(1_000_000)]
    style: Annotated[tuple[str, ...], MinLen(1), Strict(False)] | None
    only: str | None
    where: dict[str, Literal[1, -1]] | None
    limit: ImageCount | None
    labels: Annotated[tuple[str, ...], MinLen(1), Strict(False)] | None

    def problems(self) -> Iterator[str]:
        """Yields a problem if the path is missing or does not fit the source."""
        needed = {
            "kaggle": "Kaggle's owner/dataset",
            "folder": "a folder of photos",
            "archive": "an archive",
            "huggingface": "owner/dataset of the hub",
        }.get(self.source)
        if needed and not self.path:
            yield f"path: expected {needed} for the source {self.source}; found null; set data.path"
        yield from find_path_problems("path", self.path)
        if self.style and self.source != "avatars":
            yield f"style: expected null for photos; found {', '.join(self.style)}; set data.source to avatars, or data.style to null"
        if self.labels and len(set(self.labels)) < len(self.labels):
            yield f"labels: expected each column once; found {', '.join(self.labels)}"
        if self.source == "kaggle" and self.path and len(self.path.split("/")) not in (2, 3):
            yield f"path: expected owner/dataset (or owner/dataset/version), as in Kaggle's URLs; found {self.path!r}"
