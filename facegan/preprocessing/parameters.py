"""The section ``preprocess`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import Strict

from facegan.common.config import Number, Section, WholeNumber

Box = Annotated[tuple[WholeNumber, WholeNumber, WholeNumber, WholeNumber], Strict(False)]  # a list in YAML
Crop = Literal["none", "square"] | Box
Filter = Literal["lanczos", "bicubic", "bilinear", "box"]


class PreprocessParameters(Section):
    """How photos become pictures.

    Attributes:
        resolution: height and width, in pixels.
        crop: what is taken of each photo; see ``facegan.preprocessing.images.read_image``.
        filter: the resampling kernel.
        holdout: the share of photos that training never sees, where the photos bring no list of their own.
        max_bad: the largest share of unreadable photos that is put up with.
    """

    resolution: Annotated[WholeNumber, Ge(28), Le(512)]
    crop: Crop
    filter: Filter
    holdout: Annotated[Number, Ge(0), Le(0.9)]
    max_bad: Annotated[Number, Ge(0), Le(1)]

    def problems(self) -> Iterator[str]:
        """Yields a box that is none."""
        if isinstance(self.crop, str):
            return
        left, top, right, bottom = self.crop
        if not (0 <= left < right and 0 <= top < bottom):
            yield f"crop: expected a box [left, top, right, bottom] with 0 <= left < right and 0 <= top < bottom; found {list(self.crop)}"
