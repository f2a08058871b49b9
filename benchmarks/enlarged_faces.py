"""Measures the effect of enlarging images on a score: real faces against enlarged real faces.

    python benchmarks/enlarged_faces.py data/shards --images 500

The first N training faces (in the order of the reference) are compared with the next N, unchanged and enlarged. Both sets are real, so an
increase of the distance is caused by enlarging alone.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.shards import read_index  # noqa: E402 (the path above must come first)
from facegan.scoring.distances import fit_gaussian, frechet_distance  # noqa: E402
from facegan.scoring.extractors import BATCH, extract, name_frechet, open_extractor  # noqa: E402
from facegan.scoring.reference import gather, shuffle  # noqa: E402
from facegan.scoring.scores import estimate_intervals  # noqa: E402

FILTERS = {"repeating pixels": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC, "Lanczos": Image.Resampling.LANCZOS}
FACTORS = (2, 4, 8)


def enlarge_all(images: Tensor, factor: int, filter: Image.Resampling, batch: int) -> Iterator[Tensor]:
    """Yields the uint8 images (N, 3, H, W), enlarged, in batches (B, 3, factor · H, factor · W)."""
    for part in images.split(batch):
        pictures = [
            Image.fromarray(image).resize((image.shape[1] * factor, image.shape[0] * factor), filter)
            for image in part.permute(0, 2, 3, 1).numpy()
        ]
        yield torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="a folder of shards with at least twice as many training images")
    parser.add_argument("--images", type=int, default=500, help="images in each of the two sets")
    parser.add_argument("--extractor", default="efficientnet_lite0")
    parser.add_argument("--weights", type=Path, help="a file of weights (default: the published ones)")
    arguments = parser.parse_args()
    extractor = open_extractor(arguments.extractor, arguments.weights)
    batch, name = BATCH[extractor.device.type], name_frechet(extractor.space)
    rows = shuffle(read_index(arguments.shards).train)[: 2 * arguments.images]
    first, second = (gather(arguments.shards, "train", part) for part in rows.split(arguments.images))
    real, clean = (extract(extractor, part.split(batch)) for part in (first, second))
    gaussian = fit_gaussian(real)
    print(
        f"{arguments.images} faces against {arguments.images} of {first.shape[-1]} px: "
        f"{name} {frechet_distance(gaussian, fit_gaussian(clean)):.1f}, "
        f"another selection of faces: ±{estimate_intervals(real, clean, extractor.space)[name]:.2g}\n"
    )
    print(f"| enlarged by | {' | '.join(f'{factor} times' for factor in FACTORS)} |\n|---|{'---|' * len(FACTORS)}")
    for words, filter in FILTERS.items():
        distances = [
            frechet_distance(gaussian, fit_gaussian(extract(extractor, enlarge_all(second, factor, filter, batch)))) for factor in FACTORS
        ]
        print(f"| {words} | {' | '.join(f'{distance:.1f}' for distance in distances)} |", flush=True)


if __name__ == "__main__":
    main()
