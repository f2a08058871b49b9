"""Measures how precisely faces are aligned in photos that were rotated, downscaled and moved.

    python benchmarks/face_alignment.py PHOTOS.zip [--photos 100]

Each photo should show one face. First the landmarks of the unchanged photo are found. Then the photo is rotated by −30 to 30 degrees,
and it is downscaled to a half, a quarter and an eighth and placed at random on a plain background of 640 × 480. Each time the face is
found again, and its square is compared with the transformed landmarks: the roll of the eyes in the square, their distance relative to
the template, and the offset of their midpoint as a share of the side. The results measure consistency, not accuracy. Accuracy is tested
on drawn heads, and can be measured on photos that are already aligned: for these the first lines should print 0° and 100%.
"""

import argparse
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.photos.selection import is_photo  # noqa: E402 (the path above must come first)
from facegan.preprocessing.faces import TEMPLATES, find_landmarks, fit_square  # noqa: E402
from facegan.preprocessing.images import Photo  # noqa: E402
from facegan.preprocessing.sheets import spread  # noqa: E402

TEMPLATE = TEMPLATES["ffhq"]
ROLLS = (-30, -20, -10, 10, 20, 30)
SHRINKS = (2, 4, 8)
GROUND = (640, 480)


def read_photos(archive: Path, count: int) -> Iterator[Image.Image]:
    """Yields photos, evenly distributed over an archive."""
    with zipfile.ZipFile(archive) as file:
        for name in spread(sorted(filter(is_photo, file.namelist())), count):
            yield Photo(file.read(name)).decode()


def take_largest(image: Image.Image) -> np.ndarray | None:
    """Returns the landmarks, complex (5,), of the largest face in an image."""
    found = find_landmarks(image)
    return max(found, key=lambda face: face[0].size)[1] if found else None


def turn(image: Image.Image, degrees: float) -> tuple[Image.Image, complex, complex]:
    """Returns the photo rotated clockwise on a background of its corner's colour, and the factor and offset of the map of its points."""
    factor = np.exp(1j * np.radians(degrees))
    corners = factor * np.array([0, image.width, image.width + 1j * image.height, 1j * image.height])
    offset = -complex(corners.real.min(), corners.imag.min())
    size = (int(np.ptp(corners.real)) + 1, int(np.ptp(corners.imag)) + 1)
    back, shift = 1 / factor, -offset / factor
    affine = (back.real, -back.imag, shift.real, back.imag, back.real, shift.imag)
    return image.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0))), factor, offset


def move(image: Image.Image, shrink: int, random: np.random.Generator) -> tuple[Image.Image, complex, complex]:
    """Returns the downscaled photo at a random place on a plain background, and the map of its points, as ``turn`` does."""
    small = image.resize((image.width // shrink, image.height // shrink), Image.Resampling.LANCZOS)
    ground = Image.new("RGB", GROUND, image.getpixel((0, 0)))
    place = (int(random.integers(0, GROUND[0] - small.width + 1)), int(random.integers(0, GROUND[1] - small.height + 1)))
    ground.paste(small, place)
    return ground, small.width / image.width + 0j, complex(*place)


def measure(image: Image.Image, truth: np.ndarray) -> tuple[float, float, float] | None:
    """Returns the roll in degrees, the eye distance relative to the template, and the offset of the midpoint, for known landmarks."""
    landmarks = take_largest(image)
    if landmarks is None:
        return None
    square, own = fit_square(landmarks, TEMPLATE), fit_square(truth, TEMPLATE)
    eyes, right = ((truth[:2] - one.corner) / one.across for one in (square, own))
    return np.degrees(np.angle(eyes[1] - eyes[0])), abs(eyes[1] - eyes[0]) / abs(right[1] - right[0]), abs(eyes.mean() - right.mean())


def print_row(title: str, rows: list[tuple[float, float, float] | None]) -> None:
    """Prints a row of the table."""
    found = np.array([row for row in rows if row is not None])
    if not len(found):
        print(f"| {title} | 0 of {len(rows)} | | | |", flush=True)
        return
    roll, distance, offset = np.abs(found[:, 0]), np.abs(found[:, 1] - 1), found[:, 2]
    columns = [describe(roll, 2), describe(100 * distance, 1), describe(100 * offset, 1)]
    print(f"| {title} | {len(found)} of {len(rows)} | {' | '.join(columns)} |", flush=True)


def describe(values: np.ndarray, digits: int) -> str:
    """Returns the median, the 95th percentile and the maximum."""
    return f"{np.median(values):.{digits}f} ({np.percentile(values, 95):.{digits}f}, {values.max():.{digits}f})"


def main(archive: Path, count: int) -> None:
    """Measures and prints the table."""
    random = np.random.default_rng(0)
    rows: dict[str, list] = {f"rotated by {roll}°": [] for roll in ROLLS} | {f"at 1/{shrink}, at a random place": [] for shrink in SHRINKS}
    eyes, templated, total = [], [], 0
    for image in tqdm(read_photos(archive, count), total=count, disable=None):
        total += 1
        truth = take_largest(image)
        if truth is None:
            continue
        eyes.append(truth[1] - truth[0])
        square = fit_square(truth, TEMPLATE)
        templated.append(abs(truth[1] - truth[0]) / square.side / abs(TEMPLATE[1] - TEMPLATE[0]))
        changed = [turn(image, roll) for roll in ROLLS] + [move(image, shrink, random) for shrink in SHRINKS]
        for line, (picture, factor, offset) in zip(rows.values(), changed, strict=True):
            line.append(measure(picture, factor * truth + offset))
    roll = np.degrees(np.angle(eyes))
    print(
        f"{len(eyes)} of {total} photos have a face; median roll of the eyes {np.median(roll):.1f}°, standard deviation {roll.std():.1f}°;"
    )
    print(
        f"eye distance in the squares {100 * np.median(templated):.1f}% of the template ({100 * np.percentile(templated, 5):.0f} to "
        f"{100 * np.percentile(templated, 95):.0f}% for nine of ten)\n"
    )
    print("| photo | found | remaining roll, ° | error of the eye distance, % | error of the eye position, % of the side |")
    print("|---|---|---|---|---|")
    for title, line in rows.items():
        print_row(title, line)
    print("\nmedian (95th percentile, maximum)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path, help="a zip file of photos with one face each")
    parser.add_argument("--photos", type=int, default=100, help="number of photos to use (default: 100)")
    chosen = parser.parse_args()
    main(chosen.archive, chosen.photos)
