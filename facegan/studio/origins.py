"""Where a generated face comes from: the training and held-out photos nearest to it, when the project's shards are there.

Nearness is measured as the scores measure it, over the features of ``data/reference``, where they were made of these shards; else over
pixels at 16 px. Either way it shows whether a face is a copy: a face that a generator learned to draw lies as near to photos that it has
never seen as to those it has.
"""

import dataclasses
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from facegan.common.errors import FaceganError
from facegan.common.shards import open_split, read_index
from facegan.scoring.extractors import EXTRACTORS, open_extractor
from facegan.scoring.memorisation import find_neighbours
from facegan.scoring.reference import gather, read_reference

COUNT = 6
COARSE_PIXELS = 16
CHUNK = 4096


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """A face's nearest photos.

    Attributes:
        space: over what they are near.
        train, holdout: the pictures (K, 3, H, W) in uint8, nearest first; none held out: (0, 3, H, W).
        train_distances, holdout_distances: how far they are, (K,).
        searched: among how many of each.
        same_data: whether the generator learned from these shards.
    """

    space: str
    train: Tensor
    holdout: Tensor
    train_distances: list[float]
    holdout_distances: list[float]
    searched: tuple[int, int]
    same_data: bool


def find_origins(project: Path, face: Tensor, data_fingerprint: str) -> Neighbours:
    """Returns the photos nearest to a face (3, H, W) in uint8.

    Args:
        data_fingerprint: of the shards that the generator learned from.

    Raises:
        FaceganError: the project has no shards.
    """
    shards = project / "data" / "shards"
    if not (shards / "index.json").is_file():
        raise FaceganError("expected the training photos' shards in data/shards; found none; run dvc repro preprocess, or dvc pull")
    index = read_index(shards)
    same = index.fingerprint == data_fingerprint
    by_features = search_features(project, face, index.fingerprint)
    parts, space = by_features or (search_pixels(shards, face), f"pixels at {COARSE_PIXELS} px")
    found, searched = {}, []
    for split, (distances, rows, count) in parts.items():
        found[split] = (gather(shards, split, rows) if len(rows) else face[None][:0], distances.tolist())
        searched.append(count)
    (train, near), (holdout, near_holdout) = found["train"], found["holdout"]
    return Neighbours(space, train, holdout, near, near_holdout, (searched[0], searched[1]), same)


def search_features(project: Path, face: Tensor, fingerprint: str) -> tuple[dict[str, tuple[Tensor, Tensor, int]], str] | None:
    """Returns distances, rows and number searched by split, over the reference's features; None without a reference of these shards."""
    try:
        reference = read_reference(project / "data" / "reference")
    except (FaceganError, OSError, ValueError, TypeError, KeyError):
        return None
    name = reference.protocol.extractor
    if (
        reference.protocol.data != fingerprint or name not in EXTRACTORS or EXTRACTORS[name].published.url
    ):  # others would be fetched from elsewhere
        return None
    features = open_extractor(name, device="cpu")(face[None])
    parts = {}
    for split in ("train", "holdout"):
        candidates, rows = getattr(reference, split), getattr(reference, f"{split}_rows")
        distances, order = find_neighbours(features, candidates, min(COUNT, len(candidates)))
        parts[split] = (distances[0], rows[order[0]], len(candidates))
    return parts, f"features of {name}"


def search_pixels(shards: Path, face: Tensor) -> dict[str, tuple[Tensor, Tensor, int]]:
    """Returns distances, rows and number searched by split, over all pictures, shrunk. Only a part of them is in memory at a time."""
    wanted = shrink(face[None])
    parts = {}
    for split in ("train", "holdout"):
        distances = [torch.cdist(wanted, shrink(chunk))[0] for part in open_split(shards, split) for chunk in part.split(CHUNK)]
        everything = torch.cat(distances) if distances else torch.empty(0)
        nearest = everything.topk(min(COUNT, len(everything)), largest=False)
        parts[split] = (nearest.values, nearest.indices, len(everything))
    return parts


def shrink(images: Tensor) -> Tensor:
    """Returns uint8 images (N, 3, H, W) as vectors (N, D) of their pixels at a coarse size, so that a shift of one pixel counts little."""
    size = min(COARSE_PIXELS, images.shape[-1])
    return functional.interpolate(images.float(), (size, size), mode="bilinear", antialias=True, align_corners=False).flatten(1)
