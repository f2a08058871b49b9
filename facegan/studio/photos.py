"""Converts a visitor's photo to a target of the generator's size: aligned as ``crop: face`` does, or the centred square.

Only ``facegan.preprocessing`` decodes the photo, with its limits. The photo is not stored.
"""

from pathlib import Path

import numpy as np

from facegan.common.errors import FaceganError
from facegan.parameters import read_parameters
from facegan.preprocessing.faces import read_faces
from facegan.preprocessing.images import Photo, UnreadablePicture, read_image
from facegan.preprocessing.parameters import PreprocessParameters

MAX_BYTES = 20 * 2**20
LIKE_CELEBA = {
    "template": "celeba",
    "margin": 0.0,
    "filter": "lanczos",
    "near_duplicates": "ignore",
    "holdout": 0.0,
    "max_bad": 0.0,
    "max_bad_photos": 0,
}
LARGEST_FACE = {"crop": "face", "faces": "largest", "min_face_pixels": 16, "min_eye_distances": 3.0}


def read_target(content: bytes, resolution: int, straighten: bool, like: PreprocessParameters | None = None) -> tuple[np.ndarray, str]:
    """Returns the picture as uint8 (3, resolution, resolution), and a sentence that describes the crop.

    Args:
        content: the bytes of a picture file.
        straighten: find and straighten the largest face. Otherwise, and if there is no face, the centred square is returned.
        like: how the generator's own photos were cropped; None: as CelebA's.

    Raises:
        FaceganError: the file is not a picture, or is damaged or too large.
    """
    if len(content) > MAX_BYTES:
        raise FaceganError(f"expected a photo of at most {MAX_BYTES:,} bytes; found {len(content):,}; save it smaller")
    settings = like.model_dump() if like and like.crop == "face" else LIKE_CELEBA
    parameters = PreprocessParameters.model_validate({**settings, **LARGEST_FACE, "resolution": resolution})
    try:
        crop = "This is the centred square."
        if straighten:
            faces, reasons = read_faces(Photo(content), parameters)
            if faces:
                return faces[0], "The largest face was found and straightened."
            crop = f"No face was found ({reasons[0]}); this is the centred square."
        return read_image("the photo", content, resolution, "square", "lanczos"), crop
    except UnreadablePicture as error:
        raise FaceganError(f"expected a photo (JPEG, PNG, WebP …); found: {error}; choose another, or save it smaller") from None


def read_preprocessing(project: Path) -> PreprocessParameters | None:
    """Returns how the project's photos are cropped, or None if params.yaml cannot be read."""
    try:
        return read_parameters(project / "params.yaml").preprocess
    except (FaceganError, OSError):
        return None
