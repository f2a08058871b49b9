"""A visitor's photo to a target of the generator's size: aligned as ``crop: face`` does, or the centred square.

The photo is decoded by ``facegan.preprocessing`` alone, with its limits. It is not kept.
"""

from pathlib import Path

import numpy as np

from facegan.common.errors import FaceganError
from facegan.parameters import read_parameters
from facegan.preprocessing.faces import read_faces
from facegan.preprocessing.images import Photo, UnreadablePicture, read_image
from facegan.preprocessing.parameters import PreprocessParameters

MOST_BYTES = 20 * 2**20
LIKE_CELEBA = {
    "template": "celeba",
    "margin": 0.0,
    "faces": "largest",
    "min_face_pixels": 16,
    "filter": "lanczos",
    "holdout": 0.0,
    "max_bad": 0.0,
}


def read_target(content: bytes, resolution: int, straighten: bool, like: PreprocessParameters | None = None) -> tuple[np.ndarray, str]:
    """Returns the picture as uint8 (3, resolution, resolution), and a sentence on how it was cut out.

    Args:
        content: the bytes of a picture file.
        straighten: find the largest face and straighten it; where there is none, and without this, the centred square is taken.
        like: how the generator's own photos were cut out; None: as CelebA's.

    Raises:
        FaceganError: no picture, a damaged one, or one that is too large.
    """
    if len(content) > MOST_BYTES:
        raise FaceganError(f"expected a photo of at most {MOST_BYTES:,} bytes; found {len(content):,}; save it smaller")
    settings = like.model_dump() if like and like.crop == "face" else LIKE_CELEBA
    parameters = PreprocessParameters(**{**settings, "crop": "face", "resolution": resolution, "faces": "largest", "min_face_pixels": 16})
    try:
        if straighten:
            faces, reasons = read_faces(Photo(content), parameters)
            if faces:
                return faces[0], "The largest face was found and straightened."
            found = f"No face was cut out ({reasons[0]}); this is the centred square."
        else:
            found = "This is the centred square."
        return read_image("the photo", content, resolution, "square", "lanczos"), found
    except UnreadablePicture as error:
        raise FaceganError(f"expected a photo (JPEG, PNG, WebP …); found: {error}; choose another, or save it smaller") from None


def read_preprocessing(project: Path) -> PreprocessParameters | None:
    """Returns how the project's photos are cut out, or None where params.yaml does not tell."""
    try:
        return read_parameters(project / "params.yaml").preprocess
    except (FaceganError, OSError):
        return None
