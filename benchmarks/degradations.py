"""Tests whether a score increases with degradation: real faces against increasingly degraded real faces.

    python benchmarks/degradations.py data/shards --images 1000 --extractors efficientnet_lite0

The first N training faces (in the order of the reference) are compared with the next N, degraded in five ways at five strengths each.
Strength 0 is the floor. "Dropped modes" keeps a share of the faces and repeats each of them to obtain N.
Exits with status 1 if a score does not increase with every step.
"""

import argparse
import io
import itertools
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.progress import Progress  # noqa: E402
from facegan.common.shards import read_index  # noqa: E402
from facegan.scoring.distances import fit_gaussian, frechet_distance  # noqa: E402
from facegan.scoring.extractors import BATCH, Extractor, extract, name_frechet, open_extractor  # noqa: E402
from facegan.scoring.reference import gather, shuffle  # noqa: E402
from facegan.scoring.scores import estimate_intervals  # noqa: E402 (the path above must come first)

NOISE = (4, 8, 16, 32, 64)  # standard deviation, of 255
BLUR = (0.5, 1, 1.5, 2, 3)  # standard deviation, in pixels at 64 px
JPEG = (90, 70, 50, 30, 10)  # quality
MODES = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32)  # the share of faces that is kept
SWAPPED = (0.2, 0.4, 0.6, 0.8, 1.0)  # the share of faces with the lower half of another face

Spoil = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def add_noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Returns the image (H, W, 3) with Gaussian noise, clipped to uint8."""
    return (image + random.normal(0, deviation, image.shape)).round().clip(0, 255).astype(np.uint8)


def blur(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Returns the image blurred by a Gaussian."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(deviation * len(image) / 64)))


def compress(image: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    """Returns the image after JPEG compression with the given quality."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def swap_halves(images: Tensor) -> Tensor:
    """Returns uint8 images (N, 3, H, W), each with the lower half of the previous one."""
    half = images.shape[2] // 2
    return torch.cat([images[:, :, :half], images.roll(1, 0)[:, :, half:]], 2)


def spoil_all(images: Tensor, spoil: Spoil, strength: float, batch: int) -> Iterator[Tensor]:
    """Yields the degraded images in batches of uint8 (B, 3, H, W)."""
    random = np.random.default_rng(0)
    for part in images.split(batch):
        pictures = [spoil(image, strength, random) for image in part.permute(0, 2, 3, 1).numpy()]
        yield torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def measure(extractor: Extractor, first: Tensor, second: Tensor) -> tuple[dict[str, list[float]], float]:
    """Returns the distances for each kind of degradation, strength 0 first, and the 95% interval (±) of the floor."""
    batch = BATCH[extractor.device.type]
    kinds = {"noise": (add_noise, NOISE), "blur": (blur, BLUR), "JPEG": (compress, JPEG)}
    with Progress(extractor.space, 3 + sum(len(strengths) for _, strengths in kinds.values()), "sets of images") as progress:

        def look(batches: Iterator[Tensor]) -> Tensor:
            features = extract(extractor, batches)
            progress.add(1)
            return features

        real, clean, swapped = look(first.split(batch)), look(second.split(batch)), look(swap_halves(second).split(batch))
        gaussian = fit_gaussian(real)

        def distance(features: Tensor) -> float:
            return frechet_distance(gaussian, fit_gaussian(features))

        floor, count = distance(clean), len(clean)
        results = {
            kind: [floor, *(distance(look(spoil_all(second, spoil, strength, batch))) for strength in strengths)]
            for kind, (spoil, strengths) in kinds.items()
        }
    results["dropped modes"] = [floor, *(distance(clean[torch.arange(count) % max(1, round(share * count))]) for share in MODES)]
    results["swapped halves"] = [
        floor,
        *(distance(torch.where((torch.arange(count) < share * count)[:, None], swapped, clean)) for share in SWAPPED),
    ]
    return results, estimate_intervals(real, clean, extractor.space)[name_frechet(extractor.space)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="a folder of shards with at least twice as many training images")
    parser.add_argument("--images", type=int, default=1000, help="images in each of the two sets")
    parser.add_argument("--extractors", nargs="+", default=["efficientnet_lite0"])
    parser.add_argument("--weights", type=Path, help="a file of weights (default: the published ones)")
    arguments = parser.parse_args()
    index = read_index(arguments.shards)
    rows = shuffle(index.train)[: 2 * arguments.images]
    first, second = (gather(arguments.shards, "train", part) for part in rows.split(arguments.images))
    print(
        f"{arguments.images} faces against {arguments.images} of {index.resolution} px, crop {index.crop}; "
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__}\n"
    )
    rises = True
    for name in arguments.extractors:
        extractor = open_extractor(name, arguments.weights)
        results, spread = measure(extractor, first, second)
        print(f"{name_frechet(extractor.space)}, another selection of faces: ±{spread:.2g}\n")
        print("| degradation | strengths | 0 | 1 | 2 | 3 | 4 | 5 | rises |\n|---|---|---|---|---|---|---|---|---|")
        strengths = {"noise": NOISE, "blur": BLUR, "JPEG": JPEG, "dropped modes": MODES, "swapped halves": SWAPPED}
        for kind, distances in results.items():
            rising = all(lower < higher for lower, higher in itertools.pairwise(distances))
            rises &= rising
            numbers = " | ".join(f"{distance:.1f}" for distance in distances)
            print(f"| {kind} | {', '.join(f'{strength:g}' for strength in strengths[kind])} | {numbers} | {'yes' if rising else 'NO'} |")
        print(flush=True)
    sys.exit(0 if rises else 1)


if __name__ == "__main__":
    main()
