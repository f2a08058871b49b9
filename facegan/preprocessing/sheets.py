"""Overview images, to check before a long training: the training images, also by label, and where the faces were found in the photos.

``preview.png`` shows training images from the shards, ``preview_labels.png`` some for each value of a label. ``faces.png`` shows photos
with the squares that were cut out in green and skipped faces in red; below them, photos without a usable face. All show a selection that
is spread evenly over the set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegan.common.files import replace_file
from facegan.common.shards import Index, view_labels, view_pictures
from facegan.photos.store import Photos
from facegan.photos.worker_pool import Workers
from facegan.preprocessing.faces import find_faces
from facegan.preprocessing.images import Photo, UnreadablePicture
from facegan.preprocessing.parameters import PreprocessParameters

PREVIEW_COLUMNS = 5
SHEET_COLUMNS, WITH_FACE_ROWS, WITHOUT_FACE_ROWS = 6, 4, 2
LABEL_COLUMNS, LABEL_PIXELS = 12, 64
CELL_PIXELS = 160
TITLE_PIXELS = 22
GREEN, RED = (0, 160, 60), (210, 40, 40)

Item = TypeVar("Item")


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Returns at most ``count`` items, spread evenly, including the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, count)]


def save_preview(path: Path, shards: Path, index: Index) -> None:
    """Writes training images as a square grid, row by row."""
    numbers = spread(range(index.train), PREVIEW_COLUMNS**2)
    images = [image.transpose(1, 2, 0) for image in view_pictures(shards, index, "train", numbers)]
    save(path, make_grid(images, index.resolution, PREVIEW_COLUMNS, PREVIEW_COLUMNS))


def save_label_preview(path: Path, shards: Path, index: Index) -> None:
    """Writes training images of each value of each label, one row per value below a line that names it."""
    labels = view_labels(shards, index, "train")  # (N, columns)
    parts = []
    for number, column in enumerate(index.labels):
        for position, (value, count) in enumerate(zip(column.values, column.counts, strict=True)):
            shown = spread(np.flatnonzero(labels[:, number] == position).tolist(), LABEL_COLUMNS)
            images = [Image.fromarray(image.transpose(1, 2, 0)) for image in view_pictures(shards, index, "train", shown)]
            cells = [np.asarray(image.resize((LABEL_PIXELS, LABEL_PIXELS), Image.Resampling.BOX)) for image in images]
            parts.append(make_title(f"{column.name}: {value} ({count:,} images)", LABEL_COLUMNS * LABEL_PIXELS))
            parts.append(make_grid(cells, LABEL_PIXELS, LABEL_COLUMNS, 1))
    save(path, stack(parts))


def save_faces_sheet(
    path: Path, photos: Photos, has_picture: Sequence[bool | None], parameters: PreprocessParameters, pool: Workers
) -> None:
    """Writes the sheet of photos with and without a face.

    Args:
        has_picture: for each photo, in order, whether it has a usable face; None if it is unreadable.
    """
    parts = []
    for kind, expected, rows in (("with a face", True, WITH_FACE_ROWS), ("without a face that can be used", False, WITHOUT_FACE_ROWS)):
        names = [name for name, has in zip(photos.names, has_picture, strict=True) if has is expected]
        shown = spread(names, rows * SHEET_COLUMNS)
        cells = list(pool.map(draw_photo, ((photos.select([name]), parameters) for name in shown)))
        title = make_title(f"{len(shown):,} of {len(names):,} photos {kind}", SHEET_COLUMNS * CELL_PIXELS)
        parts += [title, make_grid(cells, CELL_PIXELS, SHEET_COLUMNS, -(-len(cells) // SHEET_COLUMNS))]
    save(path, stack(parts))


def draw_photo(photos: Photos, parameters: PreprocessParameters) -> np.ndarray:
    """Returns a thumbnail of one photo with the faces marked, on white: uint8 (H, W, 3). Runs in a worker."""
    [content] = photos.read_all()
    cell = Image.new("RGB", (CELL_PIXELS, CELL_PIXELS), "white")
    try:
        image, shrink, faces = find_faces(Photo(content), parameters)
    except UnreadablePicture:  # the file has changed since
        return np.asarray(cell)
    factor = (CELL_PIXELS - 4) / max(image.size)
    size = max(1, round(factor * image.width)), max(1, round(factor * image.height))
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    left, top = (CELL_PIXELS - small.width) // 2, (CELL_PIXELS - small.height) // 2
    cell.paste(small, (left, top))
    draw = ImageDraw.Draw(cell)
    for face in faces:
        corners = face.square.corners * factor / shrink + complex(left, top)
        draw.polygon([(corner.real, corner.imag) for corner in corners], outline=RED if face.reason else GREEN, width=2)
    return np.asarray(cell)


def make_grid(cells: Sequence[np.ndarray], side: int, columns: int, rows: int) -> Image.Image:
    """Returns images (side, side, 3) in a grid, row by row; unused cells are white."""
    grid = Image.new("RGB", (columns * side, rows * side), "white")
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        grid.paste(Image.fromarray(cell), (column * side, row * side))
    return grid


def make_title(text: str, width: int) -> Image.Image:
    """Returns a line of black text on white."""
    title = Image.new("RGB", (width, TITLE_PIXELS), "white")
    ImageDraw.Draw(title).text((4, 4), text, fill="black", font=ImageFont.load_default())
    return title


def stack(parts: Sequence[Image.Image]) -> Image.Image:
    """Returns images of the same width below each other."""
    sheet = Image.new("RGB", (parts[0].width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def save(path: Path, image: Image.Image) -> None:
    """Writes a PNG file."""
    with replace_file(path) as file:
        image.save(file, format="PNG")
