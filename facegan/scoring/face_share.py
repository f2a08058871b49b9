"""In how many pictures a face is found: a number beside the scores, which have no idea of faces.

In: generated pictures as they pass by, and the shards. Out: the share of both in which the face detector is sure of a face. A distance
between features can call swirls in the colour of skin as good as faces; this number cannot. It means something beside the real
pictures' share alone: the detector knows photographs, and finds a face in few drawings.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from facegan.preprocessing.faces import shows_face
from facegan.scoring.reference import Reference, gather

LOOKED_AT = 200  # of each side: some 10 ms a picture and core, so that it costs seconds and not minutes
FEWEST_PIXELS = 32  # real faces smaller than that are not found for sure


@dataclasses.dataclass(frozen=True)
class FaceShare:
    """The shares, from 0 to 1, and of how many pictures."""

    generated: float
    real: float
    generated_images: int
    real_images: int


def look_for_faces(batches: Iterator[Tensor], found: list[bool]) -> Iterator[Tensor]:
    """Passes batches of pictures (B, 3, H, W) in uint8 on as they are, and appends to ``found`` whether each of the first ones shows a face."""
    for batch in batches:
        if batch.shape[-1] >= FEWEST_PIXELS:
            found += find_each(batch[: LOOKED_AT - len(found)])
        yield batch


def measure_face_share(found: list[bool], reference: Reference, shards: Path) -> FaceShare | None:
    """Returns the shares, or None where pictures are too small for it.

    Args:
        found: what ``look_for_faces`` has found in the generated pictures.
        reference: says which the real pictures are; the first ones are looked at, the same for every generator.
    """
    if not found:
        return None
    real = find_each(gather(shards, "train", reference.train_rows[: min(LOOKED_AT, reference.protocol.real)].cpu()))
    return FaceShare(share(found), share(real), len(found), len(real))


def find_each(pictures: Tensor) -> list[bool]:
    """Returns whether each picture shows a face."""
    return [shows_face(picture) for picture in pictures.to("cpu", torch.uint8).numpy()]


def share(found: list[bool]) -> float:
    """Returns the share of what was found."""
    return sum(found) / len(found)
