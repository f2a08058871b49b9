"""The section ``preprocess`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import Strict

from facegan.common.config import Number, Section, WholeNumber

Box = Annotated[tuple[WholeNumber, ...], Len(4, 4), Strict(False)]  # a list in YAML
Crop = Literal["none", "square", "face"] | Box
Template = Literal["celeba", "ffhq"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box"]


class PreprocessParameters(Section):
    """How photos become pictures.

    Attributes:
        resolution: height and width, in pixels.
        crop: what is taken of each photo; see ``facegan.preprocessing.images.read_image``. "face" finds the faces and straightens them;
            see ``facegan.preprocessing.faces``. The next four are for it alone.
        template: how a face stands in its picture: as in CelebA's centre crop, or as in FFHQ.
        margin: how much more to show on each side, as a share of the template's side; below 0, how much less.
        faces: of a photo with several faces take the largest, or all.
        min_face_pixels: the smallest side of a picture that is cut out, in the photo's pixels; a smaller face is left out. From
            ``resolution`` up nothing is enlarged.
        filter: the resampling kernel.
        holdout: the share of photos that training never sees, where the photos bring no list of their own.
        max_bad: the largest share of unreadable photos that is put up with.
    """

    resolution: Annotated[WholeNumber, Ge(28), Le(512)]
    crop: Crop
    template: Template
    margin: Annotated[Number, Ge(-0.2), Le(1)]
    faces: Literal["largest", "all"]
    min_face_pixels: Annotated[WholeNumber, Ge(8)]
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
