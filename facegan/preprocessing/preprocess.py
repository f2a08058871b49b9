"""Preprocesses all photos on all cores: decodes, crops and resizes each, and writes shards.

In: the photos in ``data/raw``. Out: a folder with the shards of ``facegan.common.shards``, ``report.json`` (skipped photos and the
reasons), ``preview.png`` (training images), with labels ``preview_labels.png`` (training images by label) and, with ``crop: face``,
``faces.png`` (photos with the detected faces). The folder replaces an earlier one when it is complete.

Worker processes get the photos in small batches, and results are used in the order of the photos' names. The output is therefore
byte-identical for any number of processes, and memory does not grow with the number of photos, except for their names and hashes.
"""

import contextlib
import dataclasses
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from facegan.common.errors import FaceganError, printable
from facegan.common.files import lock_folder, replace_folder, write_json
from facegan.common.labels import Column
from facegan.common.progress import Progress
from facegan.common.shards import SPLITS, Index, ShardWriter, Split
from facegan.photos.labels import PhotoLabels
from facegan.photos.store import Photos, open_photos
from facegan.photos.worker_pool import DaskWorkers, Workers
from facegan.preprocessing.advice import advise_on_labels, advise_on_number, advise_on_square
from facegan.preprocessing.faces import REMEDIES, describe_crop, measure_face_share, read_faces
from facegan.preprocessing.images import TOO_LITTLE_MEMORY, Photo, UnreadablePicture, explain_unreadable, read_image
from facegan.preprocessing.near_duplicates import SimilarImages, hash_image
from facegan.preprocessing.parameters import PreprocessParameters
from facegan.preprocessing.results import Outcome, PhotoResult, Results, hash_pixels, open_results, remove_old_results
from facegan.preprocessing.sheets import save_faces_sheet, save_label_preview, save_preview, spread

BATCH_BYTES = 1_000_000  # of images per message; the largest single image has 786,432
BATCHES_PER_WORKER = 32  # minimum, to balance the load with few photos
SAMPLE_PHOTOS = 100  # in which the size of the faces is measured
FEW_IMAGES = 100  # from this number, any share of photos with a face is accepted
MOST_REASONS, MOST_NAMES, ALL_NAMES = 5, 3, 12  # listed on screen: reasons, files for each; everything about so few files
RARE = 0.05  # share of photos with a face, below which the crop is probably wrong


@dataclasses.dataclass(frozen=True)
class Result:
    """The shards' index, and advice for the user, in lines."""

    index: Index
    advice: list[str]


class Report:
    """The results for all photos, for ``report.json``.

    Attributes:
        pictures: number of images without duplicates.
        has_picture: for each photo, in order, whether it has an image; None if it is unreadable.
        labels: the columns of the labels.
    """

    def __init__(self) -> None:
        self.labels: Sequence[Column] = ()
        self.pictures = 0
        self.duplicates: list[dict[str, str]] = []
        self.unreadable: list[dict[str, str]] = []
        self.left_out: list[dict[str, str]] = []
        self.near_duplicates: list[dict[str, str]] = []
        self.on_both_sides: list[str] = []
        self.turned: list[str] = []
        self.damaged_profiles: list[str] = []
        self.has_picture: list[bool | None] = []
        self.first_names: dict[bytes, str] = {}

    @property
    def found(self) -> int:
        """The number of photos that have an image."""
        return sum(map(bool, self.has_picture))

    def add(self, name: str, outcome: Outcome) -> list[bool]:
        """Adds the next photo. Returns for each of its images whether it is not a duplicate."""
        self.has_picture.append(None if outcome.unreadable else bool(outcome.digests))
        if outcome.unreadable:
            self.unreadable.append({"name": name, "reason": outcome.unreadable})
        if outcome.turned:
            self.turned.append(name)
        if outcome.damaged_profile:
            self.damaged_profiles.append(name)
        self.left_out += [{"name": name, "reason": reason} for reason in outcome.left_out]
        are_new = []
        for number, digest in enumerate(outcome.digests, start=1):
            image_name = name if len(outcome.digests) == 1 else f"{name}, face {number}"
            first_name = self.first_names.setdefault(digest, image_name)
            are_new.append(first_name == image_name)
            if first_name != image_name:
                self.duplicates.append({"name": image_name, "same_as": first_name})
        self.pictures += sum(are_new)
        return are_new

    def write(self, path: Path, files_left_out: dict[str, int]) -> None:
        """Writes ``report.json``."""
        lists: dict[str, Sequence[object]] = {"duplicates": self.duplicates, "unreadable": self.unreadable, "faces_left_out": self.left_out}
        lists |= {"near_duplicates": self.near_duplicates, "near_duplicates_on_both_sides": self.on_both_sides}
        lists |= {"turned": self.turned, "damaged_profiles": self.damaged_profiles}
        labels = {column.name: dict(zip(column.values, column.counts, strict=True)) for column in self.labels}
        values = {"photos": len(self.has_picture), "pictures": self.pictures, **lists, "files_left_out": files_left_out}
        write_json(path, values | ({"labels": labels} if labels else {}))


def preprocess(
    raw: Path,
    parameters: PreprocessParameters,
    out: Path,
    workers: int,
    results: str | Path | None = None,
    home: Path = Path(),
    scheduler: str | None = None,
) -> Result:
    """Writes the shards, the report and the overview images of the photos in ``raw`` to ``out``.

    Of identical images only the first by name is kept. If the photos include CelebA's list of partitions, 0 is for training, and 1 and 2
    are held out. Otherwise, and for photos that are not listed, a hash of the file decides. A photo's split therefore does not depend on
    its name, on the resolution and crop, or on other photos.

    With a folder for ``results``, or its address, the result for each photo is kept there: the next run with the same parameters resumes,
    and only photos with new content are decoded. The output is the same with and without it.

    A relative ``data.path`` of a photo folder starts at ``home``. With the address of a Dask scheduler, its workers are used, which must
    find the photos at the same path.

    If this fails, ``out`` remains unchanged, and report and overview are in ``<out>-failed``.

    Raises:
        FaceganError: the crop box exceeds a photo; too many photos are unreadable, or have no face; all are held
            out; another process writes to ``out``; or an error of ``open_photos``, ``open_results`` or the workers.
    """
    failed = out.with_name(f"{out.name}-failed")
    kept = Results() if results is None else open_results(results, parameters)
    start = Workers(workers) if scheduler is None else DaskWorkers(scheduler)
    with lock_folder(out, "preprocesses into it"), start as pool:  # processes start while the archive's directory is read
        photos = open_photos(raw.absolute(), home)
        with replace_folder(out) as folder, keep_report(folder, failed):
            report = Report()
            try:
                index = write_shards(photos, parameters, folder, pool, report, failed, kept)
                report.labels = index.labels
            finally:
                report.write(folder / "report.json", photos.manifest.left_out)
            if parameters.crop == "face":
                save_faces_sheet(folder / "faces.png", photos, report.has_picture, parameters, pool)
                check_faces(report, failed)
            if not index.train:
                problem = "expected photos to train on; found that all are held out"
                raise FaceganError(f"{problem}; lower preprocess.holdout or check the list of partitions")
            for column in index.labels:
                if np.count_nonzero(column.counts) < 2:
                    problem = f"expected training images with several values of {column.name}; found one"
                    raise FaceganError(f"{problem}; add photos, or remove {column.name} from data.labels")
            save_preview(folder / "preview.png", folder, index)
            if index.labels:
                save_label_preview(folder / "preview_labels.png", folder, index)
        shutil.rmtree(failed, ignore_errors=True)
        if results is not None:
            remove_old_results(results)
        return Result(index, advise(photos, parameters, pool, report, index))


def write_shards(
    photos: Photos, parameters: PreprocessParameters, folder: Path, pool: Workers, report: Report, failed: Path, results: Results
) -> Index:
    """Writes the shards of the photos, adds each photo to the report, and returns the index.

    Raises:
        FaceganError: too many photos are unreadable, as soon as there are too many; or an error of ``preprocess``.
    """
    tolerated = max(parameters.max_bad_photos, int(parameters.max_bad * len(photos.names)))
    partition = photos.read_partition() or {}
    names, labels = iter(photos.names), photos.labels or PhotoLabels(columns={}, photos={})
    similar: dict[Split, SimilarImages] = {side: SimilarImages() for side in SPLITS}
    with (
        ShardWriter(folder, parameters.resolution, columns=labels.columns) as writer,
        Progress("preprocess", len(photos.names), "photos") as progress,
    ):
        for images, outcomes in pool.map(read_batch, split_batches(photos, parameters, pool.count, results)):
            next_image = iter(images)
            for outcome, name in zip(outcomes, names, strict=False):
                listed = partition.get(name.rpartition("/")[2])
                split = choose_split(listed, outcome.share, parameters.holdout)
                are_new = report.add(name, outcome)
                if outcome.hashes:
                    split = separate_near_duplicates(name, outcome, are_new, split, listed is not None, parameters, similar, report)
                for is_new, image in zip(are_new, next_image, strict=False):
                    if is_new:
                        writer.add(split, image, labels.photos.get(name, ()))
            if len(report.unreadable) > tolerated:
                raise FaceganError(describe_too_many_unreadable(report, tolerated, len(photos.names), failed))
            progress.add(len(outcomes))
        return writer.finish(describe_crop(parameters), parameters.filter, photos.manifest.sha256)


def separate_near_duplicates(
    name: str,
    outcome: Outcome,
    are_new: list[bool],
    split: Split,
    is_listed: bool,
    parameters: PreprocessParameters,
    similar: Mapping[Split, SimilarImages],
    report: Report,
) -> Split:
    """Returns the split for a photo's images, so that no image in one split resembles one in the other.

    An image that resembles earlier images in both splits is dropped. A split from CelebA's list remains.

    Args:
        are_new: whether to use each image; set to False for those that are dropped.
        similar: the images in each split so far; the photo's images are added.
    """
    found = [
        {side: images.find(hash) for side, images in similar.items()} if new else {}
        for hash, new in zip(outcome.hashes, are_new, strict=True)
    ]
    sides = {side for images in found for side, names in images.items() if names}
    on_both_sides = len(sides) == 2 and not is_listed and parameters.near_duplicates == "together"
    if len(sides) == 1 and not is_listed:
        split = sides.pop()
    if on_both_sides:
        report.on_both_sides.append(name)
    for number, (hash, images) in enumerate(zip(outcome.hashes, found, strict=True)):
        resembled = [other for names in images.values() for other in names]
        if resembled:
            report.near_duplicates.append({"name": name, "similar_to": resembled[0]})
        if are_new[number] and (on_both_sides or (resembled and parameters.near_duplicates == "drop")):
            are_new[number] = False
            report.pictures -= 1
        elif are_new[number]:
            similar[split].add(hash, name)
    return split


def choose_split(partition: int | None, share: float, holdout: float) -> Split:
    """Returns a photo's split: by its partition in CelebA's list (0: train; 1 and 2: holdout), else by its share in [0, 1)."""
    held_out = share < holdout if partition is None else partition != 0
    return "holdout" if held_out else "train"


def split_batches(
    photos: Photos, parameters: PreprocessParameters, workers: int, results: Results
) -> Iterator[tuple[Photos, PreprocessParameters, Results]]:
    """Yields the photos in batches, small enough to keep all workers busy and to return messages of about a megabyte."""
    size = max(1, min(BATCH_BYTES // (3 * parameters.resolution**2), len(photos.names) // (BATCHES_PER_WORKER * workers)))
    for start in range(0, len(photos.names), size):
        yield photos.select(photos.names[start : start + size]), parameters, results


def read_batch(photos: Photos, parameters: PreprocessParameters, results: Results) -> tuple[np.ndarray, list[Outcome]]:
    """Returns the images of some photos, uint8 (n, 3, H, W), and the outcome of each photo. Runs in a worker.

    Sending one array to the parent takes half the time of sending many.
    """
    images: list[np.ndarray] = []
    outcomes, new = [], []
    for name, content in zip(photos.names, photos.read_all(), strict=True):
        known = results.find(hashlib.sha256(content).digest())
        found, outcome = known or read_photo(name, content, parameters)
        images += found
        outcomes.append(outcome)
        if known is None and outcome.unreadable != TOO_LITTLE_MEMORY:  # which may differ in the next run
            new.append((found, outcome))
    results.add(new)
    shape = (-1, 3, parameters.resolution, parameters.resolution)
    return np.array(images, np.uint8).reshape(shape), outcomes


def read_photo(name: str, content: bytes, parameters: PreprocessParameters) -> PhotoResult:
    """Returns the images of one photo, uint8 (3, H, W) each, and its outcome."""
    digest = hashlib.sha256(content).digest()
    try:
        with explain_unreadable():  # no photo ends the stage, whatever it contains
            photo = Photo(content)
            if parameters.crop == "face":
                images, left_out = read_faces(photo, parameters)
            else:
                images, left_out = [read_image(name, photo, parameters.resolution, parameters.crop, parameters.filter)], []
    except UnreadablePicture as error:
        return [], Outcome(digest, unreadable=str(error))
    return images, Outcome(
        digest,
        [hash_pixels(image) for image in images],
        left_out,
        turned=photo.quarters > 0,
        damaged_profile=photo.has_damaged_profile,
        hashes=[] if parameters.near_duplicates == "ignore" else [hash_image(image) for image in images],
    )


@contextlib.contextmanager
def keep_report(folder: Path, failed: Path) -> Iterator[None]:
    """Keeps the report and ``faces.png`` of a run that raises FaceganError, in the folder ``failed``."""
    try:
        yield
    except FaceganError:
        names = [name for name in ("report.json", "faces.png") if (folder / name).is_file()]
        if names:
            with replace_folder(failed) as kept:
                for name in names:
                    shutil.copyfile(folder / name, kept / name)
        raise


def describe_too_many_unreadable(report: Report, tolerated: int, photos: int, failed: Path) -> str:
    """Returns the message that too many photos are unreadable."""
    return (
        f"expected at most {tolerated:,} of {photos:,} photos to be unreadable; found {len(report.unreadable):,} in the first "
        f"{len(report.has_picture):,}: {list_reasons(report.unreadable)}; see {failed / 'report.json'}, and repair or remove them, "
        "or raise preprocess.max_bad (a share) or preprocess.max_bad_photos (a number)"
    )


def list_reasons(entries: list[dict[str, str]]) -> str:
    """Returns how often each reason occurs and the first files that it concerns, the most frequent reason first."""
    kinds: dict[str, list[dict[str, str]]] = {}
    for entry in entries:
        reason = re.sub(r" \(.*", "", entry["reason"]).removeprefix("OSError: ")  # without numbers
        kinds.setdefault(reason, []).append(entry)
    is_short = len(entries) <= ALL_NAMES
    most = sorted(kinds.items(), key=lambda item: -len(item[1]))[: None if is_short else MOST_REASONS]
    shown = [f"{len(found):,} × {reason} ({list_names(found)})" for reason, found in most]
    others = len(entries) - sum(len(found) for _, found in most)
    return "; ".join(shown) + (f"; {others:,} for other reasons" if others else "")


def list_names(entries: list[dict[str, str]]) -> str:
    """Returns the names of a few files, or the first ones of many."""
    shown = entries if len(entries) <= ALL_NAMES else entries[:MOST_NAMES]
    return ", ".join(printable(entry["name"]) for entry in shown) + (", …" if len(shown) < len(entries) else "")


def check_faces(report: Report, failed: Path) -> None:
    """Raises FaceganError if almost no photo has a face."""
    photos, found = len(report.has_picture), report.found
    if found == 0 or (found < RARE * photos and report.pictures < FEW_IMAGES):
        reason = f"; the first photo: {report.left_out[0]['reason']}" if report.left_out else ""
        raise FaceganError(
            f"expected faces in the photos; found them in {found} of {photos}{reason}; see {failed / 'faces.png'}; "
            "for drawings, or images that are already cropped, set preprocess.crop to square"
        )


def advise(photos: Photos, parameters: PreprocessParameters, pool: Workers, report: Report, index: Index) -> list[str]:
    """Returns advice on the images, in lines."""
    lines, number = report_losses(photos, report, parameters.near_duplicates), len(photos.names)
    if report.duplicates:
        lines.append(f"{len(report.duplicates):,} of {len(report.duplicates) + report.pictures:,} images are duplicates and were skipped")
    if parameters.crop == "face" and not report.found == report.pictures == number:
        lines.append(
            f"{report.pictures:,} faces from {report.found:,} of {number:,} photos; faces.png shows where, and photos without a face"
        )
    elif parameters.crop == "square":
        names = spread(photos.names, SAMPLE_PHOTOS)
        shares = [share for share in pool.map(measure_share, ((photos.select([name]),) for name in names)) if share is not None]
        lines += advise_on_square(len(names), shares)
    return lines + advise_on_labels(index.labels) + advise_on_number(index.train)


def report_losses(photos: Photos, report: Report, near_duplicates: str) -> list[str]:
    """Returns lines that state which files and faces were skipped, why, and how to keep them."""
    lines = []
    if photos.manifest.left_out:
        lines.append(f"files skipped by download: {photos.manifest.describe_left_out()}")
    if report.unreadable:
        lines.append(f"{len(report.unreadable):,} photos are unreadable: {list_reasons(report.unreadable)}")
    for kind, remedy in REMEDIES.items():
        if entries := [entry for entry in report.left_out if entry["reason"].startswith(kind)]:
            lines.append(f"{len(entries):,} × {kind} ({list_names(entries)}); {remedy}")
    if report.near_duplicates:
        action = {"together": "are in the same split as those", "drop": "were dropped"}[near_duplicates]
        lines.append(f"{len(report.near_duplicates):,} images are almost the same as others, and {action}")
    if report.on_both_sides:
        lines.append(f"{len(report.on_both_sides):,} photos resemble training images and held-out ones, and were dropped")
    labels = photos.labels.photos if photos.labels else {}
    if conflicts := sum(labels.get(entry["name"]) != labels.get(entry["same_as"]) for entry in report.duplicates):
        lines.append(f"{conflicts:,} of the duplicates have other labels than the image that they repeat, whose labels are used")
    if report.turned:
        lines.append(f"{len(report.turned):,} photos were upside down or on a side, and were turned")
    if report.damaged_profiles:
        lines.append(f"{len(report.damaged_profiles):,} photos have a damaged colour profile; their colours were read as sRGB")
    return lines


def measure_share(photos: Photos) -> float | None:
    """Returns the size of one photo's largest face as a share of the centred square, or None. Runs in a worker."""
    [content] = photos.read_all()
    try:
        return measure_face_share(Photo(content))
    except UnreadablePicture:
        return None
