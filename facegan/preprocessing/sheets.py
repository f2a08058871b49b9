"""Two overview images, to check before a long training: the training images, and where the faces were found in the photos.

``preview.png`` shows training images from the shards. ``faces.png`` shows photos with the squares that were cut out in green and skipped
faces in red; below them, photos without a usable face. Both show a selection that is spread evenly over the set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facegan.common.files import replace_file
from facegan.common.shards import Index, view_pictures
from facegan.photos.store import Photos
from facegan.photos.worker_pool import Workers
from facegan.preprocessing.faces import find_faces
from facegan.preprocessing.images import Photo, UnreadablePicture
from facegan.preprocessing.parameters import PreprocessParameters

PREVIEW_COLUMNS = 5
SHEET_COLUMNS, WITH_FACE_ROWS, WITHOUT_FACE_ROWS = 6, 4, 2
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
        title = Image.new("RGB", (SHEET_COLUMNS * CELL_PIXELS, TITLE_PIXELS), "white")
        text = f"{len(shown):,} of {len(names):,} photos {kind}"
        ImageDraw.Draw(title).text((4, 4), text, fill="black", font=ImageFont.load_default())
        parts += [title, make_grid(cells, CELL_PIXELS, SHEET_COLUMNS, -(-len(cells) // SHEET_COLUMNS))]
    sheet = Image.new("RGB", (SHEET_COLUMNS * CELL_PIXELS, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    save(path, sheet)


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


def save(path: Path, image: Image.Image) -> None:
    """Writes a PNG file."""
    with replace_file(path) as file:
        image.save(file, format="PNG")
