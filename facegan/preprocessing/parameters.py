"""The section ``preprocess`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le, Len
from pydantic import Strict

from facegan.common.config import Number, Section, WholeNumber

Box = Annotated[tuple[Annotated[WholeNumber, Ge(0), Le(65_535)], ...], Len(4, 4), Strict(False)]  # a list in YAML
Crop = Literal["none", "square", "face"] | Box
Template = Literal["celeba", "ffhq"]
Filter = Literal["lanczos", "bicubic", "bilinear", "box"]


class PreprocessParameters(Section):
    """How photos are converted to training images.

    Attributes:
        resolution: height and width in pixels.
        crop: the part of each photo to use; see ``facegan.preprocessing.images.read_image``. "face" detects and aligns faces; see
            ``facegan.preprocessing.faces``. The next five parameters apply to it only.
        template: the position of the face in the image: as in CelebA's centre crop, or as in FFHQ.
        margin: how much more to include on each side, as a share of the template's side; below 0: how much less.
        faces: use the largest face of a photo, or all.
        min_face_pixels: minimum side of the square to cut out, in the photo's pixels; smaller faces are skipped. With a value of at
            least ``resolution``, no image is enlarged.
        min_eye_distances: minimum side of the square, in distances of the eyes; a face so close to the photo's edge that the square would
            be smaller is skipped.
        filter: resampling filter.
        near_duplicates: what to do about images that are almost the same, such as re-saved, resized or edited copies. ignore: do not look
            for them; together: all are for training, or all are held out; drop: only the first by name is used.
        holdout: share of the photos that are held out from training, if the photos have no list of partitions.
        max_bad: maximum share of unreadable photos; the stage stops at more, and at more than ``max_bad_photos``.
        max_bad_photos: number of unreadable photos that are accepted whatever their share is.
    """

    resolution: Annotated[WholeNumber, Ge(28), Le(512)]
    crop: Crop
    template: Template
    margin: Annotated[Number, Ge(-0.2), Le(1)]
    faces: Literal["largest", "all"]
    min_face_pixels: Annotated[WholeNumber, Ge(8), Le(65_535)]
    min_eye_distances: Annotated[Number, Ge(1), Le(4)]
    filter: Filter
    near_duplicates: Literal["ignore", "together", "drop"]
    holdout: Annotated[Number, Ge(0), Le(0.9)]
    max_bad: Annotated[Number, Ge(0), Le(1)]
    max_bad_photos: Annotated[WholeNumber, Ge(0), Le(1_000_000)]

    def problems(self) -> Iterator[str]:
        """Yields a problem if the crop box is invalid."""
        if isinstance(self.crop, str):
            return
        left, top, right, bottom = self.crop
        if not (0 <= left < right and 0 <= top < bottom):
            yield f"crop: expected a box [left, top, right, bottom] with 0 <= left < right and 0 <= top < bottom; found {list(self.crop)}"
