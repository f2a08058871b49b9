"""The share of images in which a face is detected. The scores cannot tell whether an image contains a face.

Input: a stream of generated images, and the shards. Output: the share of generated images and of real images in which the face detector is
confident of a face. A feature distance can rate skin-coloured swirls as highly as faces; this number cannot. Read it only next to the share
of the real images: the detector was trained on photographs and finds a face in few drawings.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from facegan.preprocessing.faces import shows_face
from facegan.scoring.reference import Reference, gather

MOST_IMAGES = 200  # per side: detection takes about 10 ms of one core per image
FEWEST_PIXELS = 32  # smaller real faces are not detected reliably


@dataclasses.dataclass(frozen=True)
class FaceShare:
    """The shares, from 0 to 1, and the numbers of images they were measured on."""

    generated: float
    real: float
    generated_images: int
    real_images: int


def watch_for_faces(batches: Iterator[Tensor], found: list[bool]) -> Iterator[Tensor]:
    """Yields batches of images (B, 3, H, W) in uint8 unchanged, and appends to ``found`` whether each of the first images shows a face."""
    for batch in batches:
        if batch.shape[-1] >= FEWEST_PIXELS:
            found += detect_faces(batch[: MOST_IMAGES - len(found)])
        yield batch


def measure_face_share(found: list[bool], reference: Reference, shards: Path) -> FaceShare | None:
    """Returns the shares, or None if the images are too small.

    Args:
        found: the result of ``watch_for_faces`` for the generated images.
        reference: determines the real images, the same ones for every generator.
    """
    if not found:
        return None
    real = detect_faces(gather(shards, "train", reference.train_rows[: min(MOST_IMAGES, reference.protocol.real)].cpu()))
    return FaceShare(sum(found) / len(found), sum(real) / len(real), len(found), len(real))


def detect_faces(images: Tensor) -> list[bool]:
    """Returns whether each image shows a face."""
    return [shows_face(image) for image in images.to("cpu", torch.uint8).numpy()]
