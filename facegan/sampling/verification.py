"""Whether a picture shows faces of a generator, and which: draws them again and compares the pixels.

In: a picture file, and a generator. Out: the generator, seed and number of each face, or that it is not recognised. The faces that are
drawn are those in the picture's mark or, without a mark, the first faces of a seed.
"""

import dataclasses
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from facegan.common.config import read_values
from facegan.common.errors import FaceganError, printable
from facegan.common.labels import check
from facegan.common.marks import Mark, read_mark
from facegan.models.generator_file import Card, load_generator
from facegan.models.network import GeneratorNetwork
from facegan.sampling import codes
from facegan.sampling.faces import GRID_FACE_PIXELS, SINGLE_FACE_PIXELS, generate_numbered, name_face
from facegan.sampling.parameters import SampleParameters

SEEDED = re.compile(r"(\d{1,10})-(\d{1,6})-(\d{1,2}(?:\.\d+)?(?:e-\d+)?)", re.ASCII)
SEARCHED = 1_000  # faces of a seed, for a picture without a mark
CLOSE = 16.0  # root mean square difference, of 255; of the shipped generator's faces as JPEG of quality 30: 7 to 16
CLEAR = 0.7  # of the difference from the second nearest face; another seed's face has 0.9 and more
MOST_CELLS = 1_024
NO_LABEL: Mapping[str, str] = MappingProxyType({})
MOST_COMPARED_PIXELS = 300_000_000  # of the picture, times the number of faces: a minute
LARGEST_PIXELS = 64_000_000


@dataclasses.dataclass(frozen=True)
class Match:
    """The face nearest to a picture or a part of it.

    Attributes:
        difference: root mean square, of 255; 0 means identical pixels.
        second: the difference from the second nearest face.
    """

    face: str
    difference: float
    second: float = math.inf

    @property
    def is_clear(self) -> bool:
        """Whether no other face explains the picture."""
        return self.difference <= min(CLOSE, CLEAR * self.second)


def verify(
    path: Path, model: Path | None, known: Sequence[Path], search: SampleParameters, labels: Mapping[str, str] = NO_LABEL
) -> tuple[bool, list[str]]:
    """Returns whether the picture is recognised, and lines with the reasons.

    Args:
        model: the generator; None: the one of ``known`` that the picture's mark names.
        search, labels: seed, count, truncation and labels of the faces to search for a picture without a mark.

    Raises:
        FaceganError: not a readable picture, or a problem with the generator's file.
    """
    picture, mark = read_picture(path)
    lines = [describe_mark(mark) if mark else "no mark: its metadata do not state that it was generated"]
    loaded = find_generator(mark, model, known)
    if loaded is None:
        missing = "its generator is not among those of this project" if mark else "without a mark, the generator must be given"
        return False, [*lines, f"not verified: {missing}; name it with --model"]
    name, generator, card = loaded
    if mark and mark.generator and mark.generator != card.sha256:
        lines.append(f"marked by another generator than {name}, whose SHA-256 is {card.sha256}")
    if mark and (picture is None or not mark.faces):
        return mark.generator == card.sha256, [*lines, "not drawn again: an animation or progress picture is compared by its mark only"]
    if picture is None:
        return False, [*lines, "not verified: an animation without a mark"]
    faces = mark.faces[:MOST_CELLS] if mark else [name_face(search, number) for number in range(search.count)]
    if mark and mark.composite:
        return mark.generator == card.sha256, [*lines, "not drawn again: it also contains real photos"]
    matches = compare(picture, generator, faces, mark.labels if mark else labels)
    worst = worst_difference(matches)
    found = tuple(match.face for match in matches)
    named = "those faces" if mark and found == mark.faces else f"{', '.join(map(shorten, found))} (seed-number-truncation)"
    if worst == 0:
        return True, [*lines, f"recognised: identical to {named}, drawn again by {name}"]
    if all(match.is_clear for match in matches):
        change = "re-encoded, resized, cropped or edited, or drawn on other hardware or by an almost identical generator"
        return True, [*lines, f"recognised, not identical: {named}, drawn again by {name}; differs by {worst:.1f} of 255: {change}"]
    tried = f"the {len(faces):,} faces {'in its mark' if mark else f'of seed {search.seed}'}"
    return False, [
        *lines,
        f"not recognised: {tried}, drawn again by {name}, differ by {min(m.difference for m in matches):.1f} of 255 or more",
    ]


def read_picture(path: Path) -> tuple[np.ndarray | None, Mark | None]:
    """Returns a picture (H, W, 3) in uint8, None for an animation, and its mark. Raises FaceganError if it is not readable."""
    from PIL import Image

    try:
        mark = read_mark(path)
        with Image.open(path, formats=("PNG", "WEBP", "JPEG", "GIF")) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels")
            return None if getattr(image, "n_frames", 1) > 1 else np.asarray(image.convert("RGB")), mark
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FaceganError(
            f"expected a PNG, WebP, JPEG or GIF picture in {path}; found: {printable(str(error))}; choose another file"
        ) from None


def find_generator(mark: Mark | None, model: Path | None, known: Sequence[Path]) -> tuple[Path, GeneratorNetwork, Card] | None:
    """Returns path, network and card of the given generator, or of the known one that the mark names, or None."""
    for path in [model] if model else known if mark and mark.generator else []:
        generator, card = load_generator(path)
        if model or (mark and card.sha256 == mark.generator):
            return path, generator, card
    return None


def describe_mark(mark: Mark) -> str:
    """Returns what a mark states, safe to print."""
    kind = "as a composite of photos and generated faces" if mark.composite else "as generated"
    facts = {"content": mark.content, "faces": ", ".join(map(shorten, mark.faces)), "labels": dict(mark.labels) or ""}
    facts |= {"model": mark.model, "generator": mark.generator}
    return printable(f"marked {kind}; " + "; ".join(f"{name}: {value}" for name, value in facts.items() if value))


def shorten(face: str) -> str:
    """Returns a face's text without most of a code."""
    return face if len(face) <= 32 else f"{face[:16]}…"


def draw(generator: GeneratorNetwork, faces: Sequence[str], labels: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields each face's text and its image (H, W, 3) in uint8. Skips texts that are neither seed-number-truncation nor a code."""
    given = check(labels, generator.labels.columns)
    seeded = {face: match for face in faces if (match := SEEDED.fullmatch(face))}
    for (seed, truncation), group in itertools.groupby(
        sorted(seeded, key=lambda face: seeded[face].group(1, 3)), lambda face: seeded[face].group(1, 3)
    ):
        names = {int(seeded[face][2]): face for face in group}
        values = {"seed": int(seed), "count": 1, "truncation": float(truncation)}
        parameters = read_values(SampleParameters, values, "the picture's mark")
        for number, image in generate_numbered(generator, parameters, list(names), given, quiet=True):
            yield names[number], image.permute(1, 2, 0).numpy()
    for face in faces:
        if face.startswith("~") or "+" in face:  # a code, or a seeded face with labels
            yield face, codes.render(generator, codes.read_faces(generator, [face]))[0].permute(1, 2, 0).cpu().numpy()


def compare(picture: np.ndarray, generator: GeneratorNetwork, faces: Sequence[str], labels: Mapping[str, Any]) -> list[Match]:
    """Returns the nearest face for each cell of a grid, or for a single face of any size, or for a part of one; or each face in a part of a
    grid."""
    drawn = list(draw(generator, faces, labels))
    if not drawn:
        raise FaceganError("expected faces to compare with; found none that can be drawn again; compare the mark instead")
    names = [name for name, _ in drawn]
    images = np.stack([image for _, image in drawn])  # (F, R, R, 3)
    best = min((match_cells(cells, images, names) for cells in split(picture, images.shape[1])), key=worst_difference)
    return best if all(match.is_clear for match in best) else find_parts(picture, images, names) or best


def worst_difference(matches: Sequence[Match]) -> float:
    """Returns the largest difference."""
    return max(match.difference for match in matches)


def split(picture: np.ndarray, side: int) -> Iterator[np.ndarray]:
    """Yields cells (N, side, side, 3) of the picture for each size of a cell that divides it; if there is none, the picture resized."""
    from PIL import Image

    height, width = picture.shape[:2]
    factors = [
        factor
        for factor in range(1, min(height, width) // side + 1)
        if height % (factor * side) == width % (factor * side) == 0 and height * width <= MOST_CELLS * (factor * side) ** 2
    ]
    for factor in factors:
        blocks = picture.reshape(height // factor, factor, width // factor, factor, 3)
        small = blocks.mean((1, 3))
        if (blocks != blocks[:, :1, :, :1]).any():
            small += 1e-3  # not the repeated pixels of an enlarged face: not identical, even where the mean is
        cells = small.reshape(height // factor // side, side, -1, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
        used = (cells < 255).any((1, 2, 3))
        if used.any():
            yield cells[used]  # without the white rest of the last row
    if not factors:
        yield np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BOX), dtype=float)[None] + 1e-3


def match_cells(cells: np.ndarray, images: np.ndarray, names: Sequence[str]) -> list[Match]:
    """Returns the nearest image (F, R, R, 3) for each cell (N, R, R, 3)."""
    a, b = (torch.from_numpy(values.reshape(len(values), -1).astype(np.float64)) for values in (cells, images))
    squares = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T  # (N, F); exact for integers
    return [choose(row, names) for row in squares.clamp(min=0).div(a.shape[1]).sqrt().tolist()]


def choose(differences: Sequence[float], names: Sequence[str]) -> Match:
    """Returns the face with the least of these differences."""
    (least, name), *others = sorted(zip(differences, names, strict=True))
    return Match(name, least, others[0][0] if others else math.inf)


def find_parts(picture: np.ndarray, images: np.ndarray, names: Sequence[str]) -> list[Match]:
    """Returns the face of which the picture shows a part, or all faces that the picture contains, in the sizes that facegan writes."""
    import cv2

    side, height, width = images.shape[1], *picture.shape[:2]
    differences = [255.0] * len(names)
    contains_faces = False
    for factor in sorted({1, math.ceil(GRID_FACE_PIXELS / side), math.ceil(SINGLE_FACE_PIXELS / side)}):
        face_pixels = factor * side
        is_part = max(height, width) <= face_pixels and min(height, width) >= face_pixels // 2  # of a smaller part, faces are too similar
        if not is_part and (min(height, width) < face_pixels or height * width * len(names) > MOST_COMPARED_PIXELS):
            continue
        contains_faces = contains_faces or not is_part
        for number, native in enumerate(images):
            face = native.repeat(factor, 0).repeat(factor, 1)
            image, part = (face, picture) if is_part else (picture, face)
            squares = float(cv2.matchTemplate(image, part, cv2.TM_SQDIFF).min()) / part.size
            differences[number] = min(differences[number], max(1e-3, math.sqrt(max(0.0, squares))))  # a part is never identical
    if contains_faces:
        return [Match(name, difference) for name, difference in zip(names, differences, strict=True) if difference <= CLOSE]
    return [choose(differences, names)]
