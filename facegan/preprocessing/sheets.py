"""Two pictures to look at before hours are spent: what will be trained on, and where it was found in the photos.

``preview.png`` shows training pictures as they are in the shards. ``faces.png`` shows photos, the squares that are cut out of them in
green, faces that are left out in red; below them photos that gave no face. Both are spread evenly over the set.
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
from facegan.preprocessing.faces import decode_for_detection, find_faces
from facegan.preprocessing.images import Photo, UnreadablePicture
from facegan.preprocessing.parameters import PreprocessParameters

PREVIEW_COLUMNS = 5
SHEET_COLUMNS, WITH_FACE_ROWS, WITHOUT_FACE_ROWS = 6, 4, 2
CELL_PIXELS = 160
TITLE_PIXELS = 22
GREEN, RED = (0, 160, 60), (210, 40, 40)

Item = TypeVar("Item")


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Returns at most so many of the items, spread evenly, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, count)]


def save_preview(path: Path, shards: Path, index: Index) -> None:
    """Writes training pictures as a grid, row by row; places that remain empty are white."""
    numbers = spread(range(index.train), PREVIEW_COLUMNS**2)
    cells = np.full((PREVIEW_COLUMNS**2, 3, index.resolution, index.resolution), 255, np.uint8)
    cells[: len(numbers)] = view_pictures(shards, index, "train", numbers)
    rows = cells.reshape(PREVIEW_COLUMNS, PREVIEW_COLUMNS, 3, index.resolution, index.resolution)
    side = PREVIEW_COLUMNS * index.resolution
    save(path, Image.fromarray(rows.transpose(0, 3, 1, 4, 2).reshape(side, side, 3)))


def save_faces_sheet(
    path: Path, photos: Photos, has_picture: Sequence[bool | None], parameters: PreprocessParameters, pool: Workers
) -> None:
    """Writes the sheet of photos with and without a face.

    Args:
        has_picture: for each photo, in order, whether it gave a picture; None where it is unreadable.
    """
    parts = []
    for title, wanted, rows in (("with a face", True, WITH_FACE_ROWS), ("without a face that can be used", False, WITHOUT_FACE_ROWS)):
        names = [name for name, has in zip(photos.names, has_picture, strict=True) if has is wanted]
        shown = spread(names, rows * SHEET_COLUMNS)
        cells = list(pool.map(draw_photo, ((photos.select([name]), parameters) for name in shown)))
        parts.append(lay_out(f"{len(shown):,} of {len(names):,} photos {title}", cells))
    sheet = Image.new("RGB", (SHEET_COLUMNS * CELL_PIXELS, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height
    save(path, sheet)


def draw_photo(photos: Photos, parameters: PreprocessParameters) -> np.ndarray:
    """Returns one photo with what was found in it, small, on white: uint8 (H, W, 3). Runs in a worker."""
    [content] = photos.read_all()
    cell = Image.new("RGB", (CELL_PIXELS, CELL_PIXELS), "white")
    try:
        photo = Photo(content)
        image, shrink = decode_for_detection(photo)
    except UnreadablePicture:  # a photo that was lost since
        return np.asarray(cell)
    faces = find_faces(photo, image, shrink, parameters)
    factor = (CELL_PIXELS - 4) / max(image.size)
    small = image.resize(
        (max(1, round(factor * image.width)), max(1, round(factor * image.height))), Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    left, top = (CELL_PIXELS - small.width) // 2, (CELL_PIXELS - small.height) // 2
    cell.paste(small, (left, top))
    draw = ImageDraw.Draw(cell)
    for face in faces:
        corners = face.square.corners * factor / shrink + complex(left, top)
        draw.polygon([(corner.real, corner.imag) for corner in corners], outline=RED if face.reason else GREEN, width=2)
    return np.asarray(cell)


def lay_out(title: str, cells: list[np.ndarray]) -> Image.Image:
    """Returns pictures (H, W, 3) side by side below a title."""
    rows = -(-len(cells) // SHEET_COLUMNS)
    part = Image.new("RGB", (SHEET_COLUMNS * CELL_PIXELS, TITLE_PIXELS + rows * CELL_PIXELS), "white")
    ImageDraw.Draw(part).text((4, 4), title, fill="black", font=ImageFont.load_default())
    for number, cell in enumerate(cells):
        row, column = divmod(number, SHEET_COLUMNS)
        part.paste(Image.fromarray(cell), (column * CELL_PIXELS, TITLE_PIXELS + row * CELL_PIXELS))
    return part


def save(path: Path, picture: Image.Image) -> None:
    """Writes a PNG file."""
    with replace_file(path) as file:
        picture.save(file, format="PNG")
