"""facegan: train GANs on photos of faces, sample new faces, and compute comparable scores.

import facegan
faces = facegan.load("generator.safetensors").faces(seed=1, count=10)  # PIL images
facegan.save(faces[0], "face.png")  # marked as generated
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facegan.sampling.library import FaceGenerator

__version__ = "0.1.0"


def load(path: Any, device: str = "cpu") -> "FaceGenerator":
    """Returns the generator in a generator.safetensors, ready to draw faces.

    Raises:
        facegan.common.errors.FaceganError: no such file, or not one that facegan wrote.
    """
    from facegan.sampling.library import FaceGenerator  # PyTorch comes only when a generator is asked for

    return FaceGenerator(path, device)


def save(image: Any, path: Any, **options: Any) -> None:
    """Writes a face from ``load(…).faces(…)`` as PNG, WebP, JPEG or GIF, marked as generated.

    Raises:
        facegan.common.errors.FaceganError: another file type, or a picture without a mark.
    """
    from facegan.sampling.library import save

    save(image, path, **options)
