"""The training and held-out photos nearest to a generated face, if the project's shards exist.

The distance is the one that the scores use, over the features of ``data/reference``, if those were computed from these shards; otherwise it
is over pixels at 16 px. Either shows whether a face is a copy: a face that the generator has not memorised is as near to held-out photos
as to training photos.
"""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.common.shards import Split, open_split, read_index
from facegan.scoring.extractors import EXTRACTORS, open_extractor
from facegan.scoring.memorisation import find_neighbours
from facegan.scoring.reference import gather, read_reference

COUNT = 6
COARSE_PIXELS = 16
CHUNK = 4096
SPLITS: tuple[Split, Split] = ("train", "holdout")

# By split: distances (K,) and rows (K,), nearest first, and the number of photos searched
Nearest = dict[Split, tuple[Tensor, Tensor, int]]


class Neighbours(BaseModel):
    """The photos nearest to a face. The HTTP API returns it, without the excluded fields.

    Attributes:
        space: the space in which distances are measured.
        train, holdout: the photos (K, 3, H, W) in uint8, nearest first; without held-out photos (0, 3, H, W).
        train_distances, holdout_distances: their distances, (K,).
        searched: the number of training and held-out photos searched.
        same_data: whether the generator was trained on these shards.
    """

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    space: str
    train: Annotated[Tensor, Field(exclude=True)]
    holdout: Annotated[Tensor, Field(exclude=True)]
    train_distances: list[float]
    holdout_distances: list[float]
    searched: tuple[int, int]
    same_data: bool


def find_origins(project: Path, face: Tensor, data_fingerprint: str) -> Neighbours:
    """Returns the photos nearest to a face (3, H, W) in uint8.

    Args:
        data_fingerprint: of the shards that the generator was trained on.

    Raises:
        FaceganError: the project has no shards.
    """
    shards = project / "data" / "shards"
    if not (shards / "index.json").is_file():
        raise FaceganError("expected the training photos' shards in data/shards; found none; run dvc repro preprocess, or dvc pull")
    fingerprint = read_index(shards).fingerprint
    nearest, space = search_features(project, face, fingerprint) or (search_pixels(shards, face), f"pixels at {COARSE_PIXELS} px")
    train, holdout = (gather(shards, split, rows) if len(rows) else face[None][:0] for split, (_, rows, _) in nearest.items())
    (train_distances, _, train_count), (holdout_distances, _, holdout_count) = nearest.values()
    return Neighbours(
        space=space,
        train=train,
        holdout=holdout,
        train_distances=train_distances.tolist(),
        holdout_distances=holdout_distances.tolist(),
        searched=(train_count, holdout_count),
        same_data=fingerprint == data_fingerprint,
    )


def search_features(project: Path, face: Tensor, fingerprint: str) -> tuple[Nearest, str] | None:
    """Returns the nearest photos over the reference's features, and that space's name; None without a reference of these shards."""
    try:
        reference = read_reference(project / "data" / "reference")
    except (FaceganError, OSError, ValueError, TypeError, KeyError):
        return None
    name = reference.protocol.extractor
    if (
        reference.protocol.data != fingerprint or name not in EXTRACTORS or EXTRACTORS[name].published.url
    ):  # weights with a URL are downloads
        return None
    features = open_extractor(name, device="cpu")(face[None])
    nearest: Nearest = {}
    for split in SPLITS:
        candidates, rows = getattr(reference, split), getattr(reference, f"{split}_rows")
        distances, order = find_neighbours(features, candidates, min(COUNT, len(candidates)))
        nearest[split] = (distances[0], rows[order[0]], len(candidates))
    return nearest, f"features of {name}"


def search_pixels(shards: Path, face: Tensor) -> Nearest:
    """Returns the nearest photos over downscaled pixels. Only a chunk of the photos is in memory at a time."""
    target = downscale(face[None])
    nearest: Nearest = {}
    for split in SPLITS:
        chunks = [torch.cdist(target, downscale(chunk))[0] for part in open_split(shards, split) for chunk in part.split(CHUNK)]
        distances = torch.cat(chunks) if chunks else torch.empty(0)
        best = distances.topk(min(COUNT, len(distances)), largest=False)
        nearest[split] = (best.values, best.indices, len(distances))
    return nearest


def downscale(images: Tensor) -> Tensor:
    """Returns uint8 images (N, 3, H, W) as vectors (N, D) of their pixels at a coarse size, so that a shift of one pixel changes little."""
    size = min(COARSE_PIXELS, images.shape[-1])
    return functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True, align_corners=False).flatten(1)
