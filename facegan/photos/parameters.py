"""The section ``data`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le

from facegan.common.config import Section, WholeNumber, find_path_problems


class DataParameters(Section):
    """Where photos come from.

    Attributes:
        source: avatars (drawn), kaggle, folder or archive.
        path: Kaggle's ``owner/dataset``, the folder, or the zip file; relative paths start at the project's folder.
        count: how many avatars.
        only: a pattern that the photos' names must fit, such as ``img_align_celeba/**``, in which ``*`` stands for anything, slashes
            too; null: all.
        where: what must be seen on the photos by CelebA's list of attributes, such as ``{Smiling: 1, Male: -1}``; null: anything.
        limit: use only the first so many of them by name; null: all.
    """

    source: Literal["avatars", "kaggle", "folder", "archive"]
    path: str | None
    count: Annotated[WholeNumber, Ge(1), Le(1_000_000)]
    only: str | None
    where: dict[str, Literal[1, -1]] | None
    limit: Annotated[WholeNumber, Ge(1)] | None

    def problems(self) -> Iterator[str]:
        """Yields a path that is missing or none of the source's kind."""
        needed = {"kaggle": "Kaggle's owner/dataset", "folder": "a folder of photos", "archive": "a zip file"}.get(self.source)
        if needed and not self.path:
            yield f"path: expected {needed} for the source {self.source}; found null; set data.path"
        yield from find_path_problems("path", self.path)
        if self.source == "kaggle" and self.path and len(self.path.split("/")) not in (2, 3):
            yield f"path: expected owner/dataset (or owner/dataset/version), as in Kaggle's addresses; found {self.path!r}"
