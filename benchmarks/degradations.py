"""Measures which scores react to which fault: real images against degraded real images, in several feature spaces.

    python benchmarks/degradations.py --photos celeba10k.zip --attributes list_attr_celeba.csv --work data/degradations

For drawn avatars and for photos of faces (an archive in CelebA's layout and the file of its attributes; without --photos only avatars), N
real images are the reference, and N other images, degraded in one way, are scored against them. "None" is the floor: other real images,
not degraded. Its spread is the standard deviation over disjoint sets of other real images. The tables contain the scores and, in
parentheses, how far a degradation moves the score of the same images, in spreads; at least 3 (in bold) means that the score reacts.

Spaces: lite0 (EfficientNet-Lite0), lite0 over images averaged to 16 pixels, and principal components of images averaged to 8, 16 and 32
pixels. Scores: Fréchet distance, sliced Wasserstein distance (MIND, arXiv 2605.06797), precision, recall, density and coverage.
Features are kept in the folder --work, so an interrupted run continues.
"""

import argparse
import csv
import dataclasses
import io
import os
import platform
import random
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.photos.sources.avatars import choose_features, draw_face  # noqa: E402 (the path above must come first)
from facegan.scoring.distances import Gaussian, fit_gaussian, frechet_distance  # noqa: E402
from facegan.scoring.extractors import BATCH, Extractor, extract, open_extractor  # noqa: E402
from facegan.scoring.neighbourhoods import compare_neighbourhoods  # noqa: E402
from facegan.scoring.structure import average_pixels, fit_components, project  # noqa: E402

PIXELS = 64
REAL, OTHERS = 2_000, 4_000  # images of a data set: the reference, and those that are degraded
REPEATED = 100  # images, each repeated until there are N
CONTAMINATION = 0.02  # the share of images from the other data set
PROJECTIONS = 256  # of the sliced Wasserstein distance
REACTS = 3  # spreads

Degrade = Callable[[Tensor], Tensor]  # uint8 (N, 3, H, W) to the same
Derive = Callable[[Tensor], Callable[[Tensor], Tensor]]  # the reference's features to a function of features


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Real images.

    Attributes:
        images: uint8 (REAL + OTHERS, 3, 64, 64), the reference first.
        groups: for each group whose absence is a kind of degradation, which images belong to it, bool (REAL + OTHERS,).
        eyes: top, bottom, left and right of the part of the image that contains the eyes.
    """

    name: str
    images: Tensor
    groups: dict[str, np.ndarray]
    eyes: tuple[int, int, int, int]


def draw_avatars() -> DataSet:
    """Returns the avatars that the source ``avatars`` draws, numbers 0 to REAL + OTHERS - 1."""
    names = [f"0 {number}" for number in range(REAL + OTHERS)]
    features = [choose_features(random.Random(name)) for name in names]
    groups = {
        "black hair missing": np.array([avatar.hair_color.name == "BLACK" for avatar in features]),
        "black skin missing": np.array([avatar.skin_color.name == "BLACK" for avatar in features]),
    }
    images = torch.stack([cut_square(draw_face(random.Random(name))) for name in names])
    return DataSet("avatars", images, groups, eyes=(22, 34, 14, 50))


def read_faces(photos: Path, attributes: Path) -> DataSet:
    """Returns the first photos of an archive in CelebA's layout."""
    with zipfile.ZipFile(photos) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))[: REAL + OTHERS]
        images = torch.stack([cut_square(archive.read(name)) for name in names])
    with attributes.open() as file:
        blond = {row["image_id"]: row["Blond_Hair"] == "1" for row in csv.DictReader(file)}
    groups = {"blond hair missing": np.array([blond[Path(name).name] for name in names])}
    return DataSet("faces", images, groups, eyes=(26, 38, 16, 48))


def cut_square(content: bytes) -> Tensor:
    """Returns the central square of an image file, resized, as uint8 (3, 64, 64)."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    resized = image.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
    return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()


def to_bytes(images: Tensor) -> Tensor:
    """Returns images in [0, 255] as uint8."""
    return images.round().clamp(0, 255).to(torch.uint8)


def blur(images: Tensor, size: int) -> Tensor:
    """Returns the images averaged to ``size`` pixels and enlarged to their own size."""
    small = functional.interpolate(images.float(), size=size, mode="area")
    return to_bytes(functional.interpolate(small, size=images.shape[-1], mode="bilinear"))


def add_noise(images: Tensor, deviation: float) -> Tensor:
    """Returns the images with Gaussian noise."""
    return to_bytes(images + torch.randn(images.shape, generator=torch.Generator().manual_seed(0)) * deviation)


def compress(images: Tensor, quality: int) -> Tensor:
    """Returns the images after JPEG compression."""

    def compress_one(image: Tensor) -> Tensor:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)

    return torch.stack([compress_one(image) for image in images])


def swap_halves(images: Tensor) -> Tensor:
    """Returns the images, each with the lower half of the previous one."""
    half = images.shape[2] // 2
    return torch.cat([images[:, :, :half], images.roll(1, 0)[:, :, half:]], 2)


def mirror_halves(images: Tensor) -> Tensor:
    """Returns the images with the left and the right half each mirrored in its place, so that the middle of the face is at the sides."""
    half = images.shape[3] // 2
    return torch.cat([images[..., :half].flip(3), images[..., half:].flip(3)], 3)


def smear_eyes(images: Tensor, eyes: tuple[int, int, int, int]) -> Tensor:
    """Returns the images with the eyes blurred by a mean over 9 × 9 pixels."""
    top, bottom, left, right = eyes
    blurred = functional.avg_pool2d(images.float(), 9, stride=1, padding=4, count_include_pad=False)
    result = images.clone()
    result[:, :, top:bottom, left:right] = to_bytes(blurred[:, :, top:bottom, left:right])
    return result


def tint(images: Tensor) -> Tensor:
    """Returns the images with 8% more red and 8% less blue."""
    return to_bytes(images * torch.tensor([1.08, 1.0, 0.92])[:, None, None])


def list_degradations(eyes: tuple[int, int, int, int]) -> dict[str, Degrade]:
    """Returns the degradations that change pixels, by name."""
    return {
        "blurred to 32 px": partial(blur, size=32),
        "blurred to 16 px": partial(blur, size=16),
        "noise, σ 8 of 255": partial(add_noise, deviation=8),
        "JPEG, quality 50": partial(compress, quality=50),
        "lower halves swapped": swap_halves,
        "halves mirrored": mirror_halves,
        "eyes smeared": partial(smear_eyes, eyes=eyes),
        "tinted": tint,
    }


def choose_rows(data: DataSet, count: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Returns the degradations that only choose among a set of images, by name: functions from rows of the other images to as many rows."""

    def leave_out(rows: Tensor, members: np.ndarray) -> Tensor:
        candidates = torch.arange(OTHERS).roll(-int(rows[0]))
        return candidates[torch.from_numpy(~members[REAL:])[candidates]][: len(rows)]

    choices = {f"{REPEATED} images repeated": lambda rows: rows[torch.arange(count) % REPEATED]}
    return choices | {name: partial(leave_out, members=members) for name, members in data.groups.items()}


class Features:
    """Features of images in one space, computed once and kept in a folder."""

    def __init__(self, folder: Path, space: str, compute: Callable[[Tensor], Tensor]):
        self.folder, self.space, self.compute = folder, space, compute

    def __call__(self, name: str, images: Callable[[], Tensor], count: int) -> Tensor:
        """Returns the features of the first ``count`` images; ``images`` is called only if they are not in the folder."""
        path = self.folder / f"{self.space}-{name.replace(' ', '_').replace(',', '')}.npy"
        found = torch.from_numpy(np.load(path)) if path.exists() else None
        have = 0 if found is None else len(found)
        if have < count:
            more = self.compute(images()[have:count])
            found = more if found is None else torch.cat([found, more])
            self.folder.mkdir(parents=True, exist_ok=True)
            np.save(path, found.numpy())
            print(f"{path.name}: {len(found)} images", file=sys.stderr, flush=True)
        assert found is not None
        return found[:count]


def extract_all(extractor: Extractor, images: Tensor) -> Tensor:
    return extract(extractor, iter(images.split(BATCH["cpu"])), "", len(images)).cpu()


def project_onto(averages: Tensor, components: int) -> Callable[[Tensor], Tensor]:
    """Returns the projection onto the principal components of the reference."""
    return partial(project, components=fit_components(averages, components))


def sliced_wasserstein(first: Tensor, second: Tensor) -> float:
    """Returns the mean squared Wasserstein distance between sets (N, D) of the same size, over random directions, times D."""
    directions = torch.randn(first.shape[1], PROJECTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = directions / directions.norm(dim=0)
    first, second = ((features.double() @ directions).sort(0).values for features in (first, second))
    return float((first - second).square().mean()) * directions.shape[0]


def score(real: Tensor, gaussian: Gaussian, fake: Tensor) -> dict[str, float]:
    """Returns all scores of features (N, D) against those of N real images."""
    return {
        "Fréchet": frechet_distance(gaussian, fit_gaussian(fake)),
        "Wasserstein": sliced_wasserstein(real, fake),
        **{name: value.item() for name, value in compare_neighbourhoods(real, fake).items()},
    }


def measure(
    data: DataSet, other: DataSet | None, features: Features, count: int, changed: int, others: int, derive: Derive | None = None
) -> dict[str, list[dict[str, float]]]:
    """Returns the scores by kind of degradation, "none" first: one result per disjoint set of ``count`` images.

    Args:
        changed, others: number of images whose pixels are degraded, and of other real images.
        derive: the reference's features to a function from features to features, such as a projection.
    """

    def look(name: str, images: Callable[[], Tensor], number: int) -> Tensor:
        return features(f"{data.name}-{name}", images, number)

    real = look("real", lambda: data.images[:REAL], count)
    project = derive(real) if derive else lambda values: values
    real, clean = project(real), project(look("none", lambda: data.images[REAL:], others))
    gaussian = fit_gaussian(real)
    sets = {"none": list(clean.split(count))}
    for name, degrade in list_degradations(data.eyes).items():
        values = look(name, partial(degrade, data.images[REAL : REAL + changed]), changed)
        sets[name] = list(project(values).split(count))
    parts = [rows for rows in torch.arange(others).split(count) if len(rows) == count]
    for name, choose in choose_rows(data, count).items():
        sets[name] = [clean[rows[rows < others]] for rows in map(choose, parts)]
    if other is not None:
        few = round(CONTAMINATION * count)
        strange = project(features(f"{other.name}-real", lambda: other.images[:REAL], few))
        sets[f"{CONTAMINATION:.0%} {other.name}"] = [torch.cat([clean[rows[few:]], strange]) for rows in parts]
    return {name: [score(real, gaussian, part) for part in parts if len(part) == count] for name, parts in sets.items()}


def compare_with_floor(kind: list[dict[str, float]], floor: list[dict[str, float]], name: str) -> float:
    """Returns how far a score is from that of the same images without degradation, as a mean over sets, in the floor's spreads."""
    spread = np.std([scores[name] for scores in floor], ddof=1)
    return float(np.mean([found[name] - clean[name] for found, clean in zip(kind, floor, strict=False)]) / spread)


def print_table(title: str, results: dict[str, dict[str, list[dict[str, float]]]], count: int) -> None:
    """Prints one table: a row per space and score, a column per kind of degradation, with the score and its distance from the floor."""
    kinds = list(next(iter(results.values())))
    print(f"\n### {title}, {count} images\n")
    print("| space | score | " + " | ".join(kinds) + " |")
    print("|---" * (len(kinds) + 2) + "|")
    for space, found in results.items():
        floor = found["none"]
        for name in floor[0]:
            values = [scores[name] for scores in floor]
            cells = [f"{np.mean(values):.3g} ± {np.std(values, ddof=1):.2g}, n {len(values)}"]
            for kind in kinds[1:]:
                moved = compare_with_floor(found[kind], floor, name) if found.get(kind) else 0.0
                number = f"{np.mean([scores[name] for scores in found[kind]]):.3g} ({moved:+.0f})" if found.get(kind) else ""
                cells.append(f"**{number}**" if abs(moved) >= REACTS else number)
            print(f"| {space} | {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="an archive in CelebA's layout")
    parser.add_argument("--attributes", type=Path, help="list_attr_celeba.csv")
    parser.add_argument("--counts", type=int, nargs="+", default=[400, 1000, 2000], help="images per set (default: 400 1000 2000)")
    parser.add_argument("--spaces", nargs="+", default=["lite0", "lite0_averaged", "pixels8", "pixels16", "pixels32"])
    parser.add_argument("--components", type=int, nargs="+", default=[192], help="principal components of the pixel spaces")
    parser.add_argument(
        "--changed", type=int, default=REAL, help=f"images degraded in each way, for the spaces of networks (default: {REAL})"
    )
    parser.add_argument("--others", type=int, default=OTHERS, help=f"other real images, for the spaces of networks (default: {OTHERS})")
    parser.add_argument("--work", type=Path, default=ROOT / "data/degradations", help="folder for features")
    arguments = parser.parse_args()
    sets = [draw_avatars()]
    if arguments.photos:
        sets.append(read_faces(arguments.photos, arguments.attributes))
    lite = open_extractor("efficientnet_lite0", device="cpu")
    computations: dict[str, Callable[[Tensor], Tensor]] = {
        "lite0": partial(extract_all, lite),
        "lite0_averaged": lambda images: extract_all(lite, to_bytes(functional.interpolate(images.float(), size=16, mode="area"))),
    }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, PyTorch {torch.__version__}")
    for number, data in enumerate(sets):
        other = sets[1 - number] if len(sets) == 2 else None
        for count in arguments.counts:
            results: dict[str, dict[str, list[dict[str, float]]]] = {}
            for space in arguments.spaces:
                if space in computations:
                    features = Features(arguments.work, space, computations[space])
                    results[space] = measure(data, other, features, count, arguments.changed, arguments.others)
                    continue
                features = Features(arguments.work, space, partial(average_pixels, size=int(space.removeprefix("pixels"))))
                for components in arguments.components:
                    project = partial(project_onto, components=components)
                    results[f"{space}, {components}"] = measure(data, other, features, count, REAL, OTHERS, project)
            print_table(data.name, results, count)


if __name__ == "__main__":
    main()
