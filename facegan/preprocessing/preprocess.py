"""Photos to shards: every photo decoded, cropped, resized and filed, by all cores.

In: the photos of ``data/raw``. Out: a folder with the shards of ``facegan.common.shards``, ``report.json`` (what was left out and
why), ``preview.png`` (training pictures, spread evenly) and, where faces were sought, ``faces.png`` (photos with what was cut out of
them, and photos without a face). The whole folder is made anew beside the old one and takes its place at the end.

The photos go to the processes in small pieces, and the results are taken back in the order of the names. So the same photos
give the same bytes for any number of processes, and memory holds a few pieces, however many photos there are.
"""

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from facegan.common.errors import FaceganError, printable
from facegan.common.files import lock_folder, replace_folder, write_json
from facegan.common.progress import Progress
from facegan.common.shards import Index, ShardWriter, Split
from facegan.photos.store import Photos, open_photos
from facegan.photos.worker_pool import Workers
from facegan.preprocessing.advice import advise_on_duplicates, advise_on_faces, advise_on_number, advise_on_square
from facegan.preprocessing.faces import describe_crop, measure_face_share, read_faces
from facegan.preprocessing.images import Photo, UnreadablePicture, read_image
from facegan.preprocessing.parameters import PreprocessParameters
from facegan.preprocessing.sheets import save_faces_sheet, save_preview, spread

PIECE_BYTES = 1_000_000  # of pictures; the largest one has 786,432
PIECES_PER_WORKER = 32  # at least, so that few photos too are shared out evenly
SAMPLE_PHOTOS = 100  # in which the faces' share of the square is measured
FEW_PICTURES = 100  # from so many up a set is trained on, however rare faces are in it
RARE = 0.05  # the share of photos with a face below which something is wrong


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        share: a number in [0, 1) that depends on the file's bytes alone.
        digests: the hash of each of its pictures; several where all faces of a photo are taken.
        left_out: why a face was left out, or that there is none.
        unreadable: why there is no photo at all, or None.
    """

    share: float
    digests: list[bytes] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)
    unreadable: str | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """What the stage made, and what it has to say about it, in lines."""

    index: Index
    advice: list[str]


class Report:
    """What became of the photos: the content of ``report.json``, and which photos show a face.

    Attributes:
        has_picture: for each photo, in order, whether it gave a picture; None where it is unreadable.
    """

    def __init__(self) -> None:
        self.pictures = 0
        self.duplicates: list[dict[str, str]] = []
        self.unreadable: list[dict[str, str]] = []
        self.left_out: list[dict[str, str]] = []
        self.has_picture: list[bool | None] = []
        self.first_names: dict[bytes, str] = {}

    def take(self, name: str, outcome: Outcome) -> Iterator[bool]:
        """Notes what became of the next photo, and yields for each of its pictures whether it is new, and no duplicate."""
        self.has_picture.append(None if outcome.unreadable else bool(outcome.digests))
        if outcome.unreadable:
            self.unreadable.append({"name": name, "reason": outcome.unreadable})
        self.left_out += [{"name": name, "reason": reason} for reason in outcome.left_out]
        for number, digest in enumerate(outcome.digests, start=1):
            picture_name = name if len(outcome.digests) == 1 else f"{name}, face {number}"
            first_name = self.first_names.setdefault(digest, picture_name)
            is_new = first_name == picture_name
            if is_new:
                self.pictures += 1
            else:
                self.duplicates.append({"name": picture_name, "same_as": first_name})
            yield is_new

    def as_plain(self) -> dict[str, Any]:
        """Returns what ``report.json`` holds."""
        return {
            "photos": len(self.has_picture),
            "pictures": self.pictures,
            "duplicates": self.duplicates,
            "unreadable": self.unreadable,
            "faces_left_out": self.left_out,
        }


def preprocess(raw: Path, parameters: PreprocessParameters, out: Path, workers: int) -> Result:
    """Writes the shards, the report and the sheets of the photos in ``raw`` to ``out``.

    Of pictures that come out the same to the last byte only the first by name is kept. Where the photos bring CelebA's list of
    partitions, 0 is for training, and 1 and 2 are held out; elsewhere, and for photos that the list leaves out, a hash of
    the file decides, so that a photo stays on its side under another name, size or crop, and beside other photos.

    What stood in ``out`` before stays when this fails; report and sheets then lie in a folder beside it, ``<out>-failed``.

    Raises:
        FaceganError: no photos, a crop box that leaves a photo, too many unreadable photos, hardly any face, none left to train
            on, another run that writes to ``out``, or what ``open_photos`` raises.
    """
    failed = out.with_name(f"{out.name}-failed")
    with lock_folder(out, "preprocesses into it"), Workers(workers) as pool:  # they start while the archive's table of contents is read
        photos = open_photos(raw)
        if not photos.names:
            raise FaceganError("expected photos; found none; check data.source and data.path")
        with replace_folder(out) as folder, keep_report(folder, failed):
            report = Report()
            index = write_pictures(photos, parameters, folder, pool, report)
            write_json(folder / "report.json", report.as_plain() | {"files_left_out": photos.manifest.left_out})
            if parameters.crop == "face":
                save_faces_sheet(folder / "faces.png", photos, report.has_picture, parameters, pool)
            check_unreadable(report, parameters.max_bad, failed)
            if parameters.crop == "face":
                check_faces(report, failed)
            if not index.train:
                raise FaceganError(
                    "expected photos to train on; found all held out; lower preprocess.holdout or check the list of partitions"
                )
            save_preview(folder / "preview.png", folder, index)
        shutil.rmtree(failed, ignore_errors=True)
        return Result(index, advise(photos, parameters, pool, report, index))


def write_pictures(photos: Photos, parameters: PreprocessParameters, folder: Path, pool: Workers, report: Report) -> Index:
    """Writes the shards of the photos, notes in the report what became of each, and returns the index."""
    partition = photos.read_partition() or {}
    names = iter(photos.names)
    with ShardWriter(folder, parameters.resolution) as writer, Progress("preprocess", len(photos.names), "photos") as progress:
        for pictures, outcomes in pool.map(read_piece, cut_pieces(photos, parameters, pool.count)):
            next_picture = iter(pictures)
            for outcome, name in zip(outcomes, names, strict=False):
                split = choose_split(partition.get(name.rpartition("/")[2]), outcome.share, parameters.holdout)
                for is_new in report.take(name, outcome):
                    picture = next(next_picture)
                    if is_new:
                        writer.add(split, picture)
            progress.add(len(outcomes))
        return writer.finish(describe_crop(parameters), parameters.filter, photos.manifest.sha256)


def choose_split(partition: int | None, share: float, holdout: float) -> Split:
    """Returns where a photo belongs: as CelebA's list says (0: train; 1 and 2: held out), else by its share of [0, 1)."""
    held_out = share < holdout if partition is None else partition != 0
    return "holdout" if held_out else "train"


def cut_pieces(photos: Photos, parameters: PreprocessParameters, workers: int) -> Iterator[tuple[Photos, PreprocessParameters]]:
    """Yields the photos in pieces of a size that keeps all workers busy and whose pictures make a message of a megabyte or so."""
    size = min(PIECE_BYTES // (3 * parameters.resolution**2), len(photos.names) // (PIECES_PER_WORKER * workers))
    size = max(1, size)
    for start in range(0, len(photos.names), size):
        yield photos.select(photos.names[start : start + size]), parameters


def read_piece(photos: Photos, parameters: PreprocessParameters) -> tuple[np.ndarray, list[Outcome]]:
    """Returns the pictures of some photos in a row, uint8 (n, 3, H, W), and what became of each photo. Runs in a worker.

    One array for all goes to the parent at half the cost of many.
    """
    pictures, outcomes = [], []
    for name, content in zip(photos.names, photos.read_all(), strict=True):
        found, outcome = read_photo(name, content, parameters)
        pictures += found
        outcomes.append(outcome)
    shape = (-1, 3, parameters.resolution, parameters.resolution)
    return np.array(pictures, np.uint8).reshape(shape), outcomes


def read_photo(name: str, content: bytes, parameters: PreprocessParameters) -> tuple[list[np.ndarray], Outcome]:
    """Returns the pictures of one photo, uint8 (3, H, W) each, and what became of it."""
    share = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    try:
        if parameters.crop == "face":
            pictures, left_out = read_faces(Photo(content), parameters)
        else:
            pictures, left_out = [read_image(name, content, parameters.resolution, parameters.crop, parameters.filter)], []
    except UnreadablePicture as error:
        return [], Outcome(share, unreadable=str(error))
    return pictures, Outcome(share, [hashlib.sha256(picture).digest()[:16] for picture in pictures], left_out)


@contextlib.contextmanager
def keep_report(folder: Path, failed: Path) -> Iterator[None]:
    """Keeps the report and the sheets of a run that ends in FaceganError, in the folder ``failed``."""
    try:
        yield
    except FaceganError:
        names = [name for name in ("report.json", "faces.png") if (folder / name).is_file()]
        if names:
            with replace_folder(failed) as kept:
                for name in names:
                    shutil.copyfile(folder / name, kept / name)
        raise


def check_unreadable(report: Report, max_bad: float, failed: Path) -> None:
    """Raises FaceganError when a larger share of the photos than ``max_bad`` is unreadable."""
    photos, unreadable = len(report.has_picture), report.unreadable
    if len(unreadable) > max_bad * photos:
        first = unreadable[0]
        raise FaceganError(
            f"expected at most {max_bad:.1%} of the photos to be unreadable; found {len(unreadable)} of {photos}, first "
            f"{printable(first['name'])} ({first['reason']}); see {failed / 'report.json'}, and mend them or raise preprocess.max_bad"
        )


def check_faces(report: Report, failed: Path) -> None:
    """Raises FaceganError when hardly any photo shows a face."""
    photos, found = len(report.has_picture), sum(map(bool, report.has_picture))
    if found == 0 or (found < RARE * photos and report.pictures < FEW_PICTURES):
        reason = f"; the first photo: {report.left_out[0]['reason']}" if report.left_out else ""
        raise FaceganError(
            f"expected faces in the photos; found them in {found} of {photos}{reason}; look at {failed / 'faces.png'}; "
            "for drawings, or pictures that are cropped already, take preprocess.crop: square"
        )


def advise(photos: Photos, parameters: PreprocessParameters, pool: Workers, report: Report, index: Index) -> list[str]:
    """Returns what is worth saying about the pictures, in lines."""
    lines = advise_on_duplicates(len(report.duplicates), report.pictures)
    if parameters.crop == "face":
        lines += advise_on_faces(len(report.has_picture), sum(map(bool, report.has_picture)), index.train + index.holdout)
    elif parameters.crop == "square":
        names = spread(photos.names, SAMPLE_PHOTOS)
        shares = [share for share in pool.map(measure_shares, ((photos.select([name]),) for name in names)) if share is not None]
        lines += advise_on_square(len(names), shares)
    return lines + advise_on_number(index.train)


def measure_shares(photos: Photos) -> float | None:
    """Returns how much of the centred square of one photo its largest face fills, or None. Runs in a worker."""
    [content] = photos.read_all()
    try:
        return measure_face_share(Photo(content))
    except UnreadablePicture:
        return None
