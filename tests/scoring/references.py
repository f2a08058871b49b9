"""Shards, extractors and references for the tests of scoring."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from facegan.common.pictures import save_png
from facegan.common.shards import Index, ShardWriter
from facegan.models.generator_file import Card
from facegan.models.parameters import DCGANParameters
from facegan.scoring.extractors import Extractor, open_extractor
from facegan.scoring.parameters import EvaluateParameters
from facegan.scoring.reference import Reference, make_reference

ARGUMENTS = DCGANParameters(width=8, latent_size=16, discriminator_norm="spectral")
CARD = Card(
    **{"model": "dcgan", "arguments": ARGUMENTS.model_dump(exclude={"name"}), "resolution": 32, "latent_size": 16, "images_seen": 77},
    **{"data_fingerprint": "elsewhere", "parameters_fingerprint": ""},
)


@functools.cache
def open_lite() -> Extractor:
    """Returns the extractor efficientnet_lite0 on the CPU."""
    return open_extractor("efficientnet_lite0", device="cpu")


def write_shards(
    folder: Path,
    train: Iterable[np.ndarray],
    holdout: Iterable[np.ndarray] = (),
    columns: Mapping[str, Sequence[str]] | None = None,
    labels: Iterable[Sequence[int]] = (),
) -> Index:
    """Writes shards of images (3, H, W) in uint8, with the labels of all of them, in the same order."""
    train, rows = list(train), iter(labels)
    with ShardWriter(folder, train[0].shape[-1], columns=columns) as writer:
        for split, images in (("train", train), ("holdout", holdout)):
            for image in images:
                writer.add(split, image, next(rows, ()))
        return writer.finish(crop="none", filter="lanczos", source_fingerprint="drawn")


def refer(shards: Path, images: int) -> Reference:
    """Returns a reference of the shards, over ``open_lite``."""
    return make_reference(shards, shards.parent / "reference", open_lite(), images, memorisation_images=None)


def choose(images: int) -> EvaluateParameters:
    """Returns the section ``evaluate`` of the parameters."""
    return EvaluateParameters(extractor="efficientnet_lite0", weights=None, images=images, memorisation_images=None, seed=0)


def draw(count: int, dimensions: int, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Returns normally distributed features (count, dimensions) in double precision."""
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale + shift


def save_pictures(folder: Path, pictures: Iterable[np.ndarray]) -> Path:
    """Writes images (3, H, W) as PNG files. Returns the folder."""
    for number, picture in enumerate(pictures):
        save_png(folder / f"{number:03d}.png", picture.transpose(1, 2, 0))
    return folder
