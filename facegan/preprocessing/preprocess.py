"""Photos to shards: every photo decoded, cropped, resized and filed, by all cores.

In: the photos of ``data/raw``. Out: a folder with the shards of ``facegan.common.shards``, ``report.json`` (what was left out and
why) and ``preview.png`` (the first 25 training pictures).

The photos go to the processes in small pieces, and the results are taken back in the order of the names. So the same photos
give the same bytes for any number of processes, and memory holds a few pieces, however many photos there are.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.common.shards import Index, ShardWriter, Split
from facegan.photos.store import Photos, open_photos
from facegan.photos.worker_pool import Workers
from facegan.preprocessing.images import UnreadablePicture, read_image
from facegan.preprocessing.parameters import PreprocessParameters

PREVIEW_COLUMNS = 5
PIECE_BYTES = 1_000_000  # of pictures; the largest one has 786,432
PIECES_PER_WORKER = 32  # at least, so that few photos too are shared out evenly


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one photo: a picture, or the reason why there is none.

    Attributes:
        share: a number in [0, 1) that depends on the file's bytes alone.
        digest: the hash of the picture, or None.
        reason: why there is no picture.
    """

    share: float
    digest: bytes | None = None
    reason: str | None = None


def preprocess(raw: Path, parameters: PreprocessParameters, out: Path, workers: int) -> Index:
    """Writes the shards, the report and the preview of the photos in ``raw`` to ``out``, and returns the shards' index.

    Of pictures that come out the same to the last byte only the first by name is kept. Where the photos bring CelebA's list of
    partitions, 0 is for training, and 1 and 2 are held out; elsewhere, and for photos that the list leaves out, a hash of
    the file decides, so that a photo stays on its side under another name, size or crop, and beside other photos.

    Raises:
        FaceganError: no photos, a crop box that leaves a photo, too many unreadable photos, none left to train on, or what
            ``open_photos`` raises.
    """
    first_names: dict[bytes, str] = {}
    duplicates, unreadable, preview = [], [], []
    with Workers(workers, PIECE_BYTES) as pool:  # they start while the archive's table of contents is read
        photos = open_photos(raw)
        if not photos.names:
            raise FaceganError("expected photos; found none; check data.source and data.path")
        partition = photos.read_partition() or {}
        results = pair_up(pool.map_pages(read_piece, cut_pieces(photos, parameters, workers)), parameters.resolution)
        with ShardWriter(out, parameters.resolution) as writer, Progress("preprocess", len(photos.names), "photos") as progress:
            for name, (image, outcome) in zip(photos.names, results, strict=True):
                progress.add(1)
                if outcome.digest is None:
                    unreadable.append({"name": name, "reason": outcome.reason})
                    continue
                first_name = first_names.setdefault(outcome.digest, name)
                if first_name != name:
                    duplicates.append({"name": name, "same_as": first_name})
                    continue
                split = choose_split(partition.get(name.rpartition("/")[2]), outcome.share, parameters.holdout)
                writer.add(split, image)
                if split == "train" and len(preview) < PREVIEW_COLUMNS**2:
                    preview.append(image.copy())
            report = out / "report.json"
            write_report(report, {"photos": len(photos.names), "duplicates": duplicates, "unreadable": unreadable})
            check_unreadable(unreadable, len(photos.names), parameters.max_bad, report)
            if not preview:
                raise FaceganError("expected photos to train on; found all held out; lower preprocess.holdout or check the list of partitions")
            save_preview(out / "preview.png", preview)
            return writer.finish(parameters.crop, parameters.filter, photos.manifest.sha256)


def choose_split(partition: int | None, share: float, holdout: float) -> Split:
    """Returns where a photo belongs: as CelebA's list says (0: train; 1 and 2: held out), else by its share of [0, 1)."""
    held_out = share < holdout if partition is None else partition != 0
    return "holdout" if held_out else "train"


def cut_pieces(photos: Photos, parameters: PreprocessParameters, workers: int) -> Iterator[tuple[Photos, PreprocessParameters]]:
    """Yields the photos in pieces of a size that keeps all workers busy and whose pictures find room on a page."""
    size = min(PIECE_BYTES // (3 * parameters.resolution**2), len(photos.names) // (PIECES_PER_WORKER * workers))
    size = max(1, size)
    for start in range(0, len(photos.names), size):
        yield photos.select(photos.names[start : start + size]), parameters


def read_piece(page: np.ndarray, photos: Photos, parameters: PreprocessParameters) -> list[Outcome]:
    """Leaves the pictures on the page, and returns what became of each photo. Runs in a worker."""
    images = view_images(page, parameters.resolution)
    photos_in_turn = zip(images, photos.names, photos.read_all(), strict=False)
    return [read_photo(image, name, content, parameters) for image, name, content in photos_in_turn]


def pair_up(pieces: Iterable[tuple[np.ndarray, list[Outcome]]], resolution: int) -> Iterator[tuple[np.ndarray, Outcome]]:
    """Yields each photo's picture (3, H, W), meaningless where there is none, beside what became of the photo."""
    for page, outcomes in pieces:
        yield from zip(view_images(page, resolution), outcomes, strict=False)


def view_images(page: np.ndarray, resolution: int) -> np.ndarray:
    """Returns a page as pictures (n, 3, H, W), as many as it has room for."""
    room = len(page) // (3 * resolution**2)
    return page[: room * 3 * resolution**2].reshape(room, 3, resolution, resolution)


def read_photo(image: np.ndarray, name: str, content: bytes, parameters: PreprocessParameters) -> Outcome:
    """Fills ``image`` (3, H, W) from the photo's bytes, and returns what became of it."""
    share = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    try:
        image[:] = read_image(name, content, parameters.resolution, parameters.crop, parameters.filter)
    except UnreadablePicture as error:
        return Outcome(share, reason=str(error))
    return Outcome(share, hashlib.sha256(image).digest()[:16])


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Writes what was left out, and why, as JSON."""
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_unreadable(unreadable: list[dict[str, str]], photos: int, max_bad: float, report: Path) -> None:
    """Raises FaceganError when a larger share of the photos than ``max_bad`` is unreadable."""
    if len(unreadable) > max_bad * photos:
        first = unreadable[0]
        raise FaceganError(
            f"expected at most {max_bad:.1%} of the photos to be unreadable; found {len(unreadable)} of {photos}, first "
            f"{first['name']} ({first['reason']}); see {report}, and mend them or raise preprocess.max_bad"
        )


def save_preview(path: Path, images: list[np.ndarray]) -> None:
    """Writes pictures (3, H, W) in uint8 as a grid, row by row; places that remain empty are white."""
    size = images[0].shape[1]
    cells = np.full((PREVIEW_COLUMNS**2, 3, size, size), 255, np.uint8)
    cells[: len(images)] = images
    rows = cells.reshape(PREVIEW_COLUMNS, PREVIEW_COLUMNS, 3, size, size)
    grid = rows.transpose(0, 3, 1, 4, 2).reshape(PREVIEW_COLUMNS * size, PREVIEW_COLUMNS * size, 3)
    Image.fromarray(grid).save(path)
