"""Scores of pictures in a folder or a zip file, whoever made them.

In: pictures of one size, and real images of that size to hold them against, either the pipeline's reference or another folder or zip.
Out: the report that a generator gets, less what only a generator has (latents, an untrained twin).

Pictures are scored as they are, and those of another size than the real images' are refused. Extractors see pictures at some 224 or
299 pixels: real images reach that from their own size in one step, enlarged faces in two, and what the first step did to them (blocks,
most of all) would be held against the generator. benchmarks/enlarged_faces.py measures it on real faces.
"""

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file
from facegan.common.progress import Progress
from facegan.photos.selection import find_photos, summarise
from facegan.photos.sources.folder import hash_photo, walk
from facegan.photos.store import FolderStore, Store
from facegan.photos.zip_archive import ZipStore
from facegan.preprocessing.images import Photo, UnreadablePicture
from facegan.scoring.evaluate import check_extractor, round_numbers
from facegan.scoring.extractors import BATCH, Extractor, extract
from facegan.scoring.memorisation import measure_memorisation
from facegan.scoring.parameters import FEWEST_IMAGES
from facegan.scoring.protocol import PictureProtocol, RealProtocol
from facegan.scoring.reference import Reference, shuffle
from facegan.scoring.scores import compare, estimate_intervals

NOT_RESIZED = "give them as they left the generator (stages/sample.py --native), not resized"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What an extractor saw in a folder or zip of pictures.

    Attributes:
        path: where they lie.
        sha256: of the zip, or of the list of names and contents in the folder.
        size: height and width in pixels.
        features: (N, D), in the one random order that real images have too.
    """

    path: Path
    sha256: str
    size: tuple[int, int]
    features: Tensor


def score_pictures(pictures: Pictures, real: Reference | Pictures, extractor: Extractor, seed: int) -> dict[str, Any]:
    """Returns the report on the pictures: scores by name, how far as many others' may lie, and the protocol.

    Against a reference also the scores of other real images (the floor), and the memorisation test.

    Args:
        seed: of the memorisation test's resampling.

    Raises:
        FaceganError: pictures of another size than the real images, or a reference made with another extractor.
    """
    if isinstance(real, Reference):
        check_extractor(real, extractor)
        protocol, features, real_size = real.protocol, real.real, (real.protocol.resolution,) * 2
    else:
        protocol, features, real_size = describe_real(real, extractor), real.features, real.size
    if pictures.size != real_size:
        problem = f"expected pictures of {name_size(real_size)}, as the real images are; found {name_size(pictures.size)}"
        raise FaceganError(f"{problem} in {printable(str(pictures.path))}; {NOT_RESIZED}")
    fake, space = pictures.features, extractor.space
    report: dict[str, Any] = {
        "pictures": {"path": str(pictures.path), "sha256": pictures.sha256},
        "generated": compare(features, fake, space, extractor.classifier),
        "another_seed_95": estimate_intervals(features, fake, space),
    }
    if isinstance(real, Reference):
        report["floor"] = real.floor
        if len(real.holdout) >= FEWEST_IMAGES:
            report["memorisation"] = dataclasses.asdict(measure_memorisation(fake, real.holdout, real.train, seed))
    protocol = PictureProtocol(**dataclasses.asdict(protocol), generated=len(fake))
    report["protocol"] = {"fingerprint": protocol.fingerprint, **dataclasses.asdict(protocol)}
    return round_numbers(report)


def describe_real(pictures: Pictures, extractor: Extractor) -> RealProtocol:
    """Returns the real half of the protocol, where the real images are pictures in a folder or zip, taken whole and unchanged."""
    return RealProtocol(
        data=pictures.sha256,
        resolution=pictures.size[0],
        crop="none",
        filter="none",
        split="all",
        real=len(pictures.features),
        extractor=extractor.space,
        weights_sha256=extractor.weights_sha256,
        resize=extractor.resize,
    )


def extract_pictures(path: Path, option: str, extractor: Extractor) -> Pictures:
    """Returns what the extractor sees in all pictures in a folder, with those below it, or in a zip file.

    Args:
        option: the command line's that named the path, for errors.

    Raises:
        FaceganError: no folder or zip, too few pictures, one that cannot be read, or several sizes.
    """
    path = path.resolve()
    if not path.exists():
        raise FaceganError(f"{option}: expected a folder or a zip file of pictures; found nothing at {printable(str(path))}; mend the path")
    store, names, left_out, sha256 = list_folder(path) if path.is_dir() else list_zip(path)
    others = ", ".join(f"{count:,} {printable(kind)}" for kind, count in summarise(left_out).items())
    if len(names) < FEWEST_IMAGES:
        problem = f"expected at least {FEWEST_IMAGES} pictures in {printable(str(path))}; found {len(names)}{', ' * bool(others)}{others}"
        raise FaceganError(f"{option}: {problem}; give more")
    if others:
        print(f"{option}: {len(names):,} pictures in {printable(path.name)}; left out: {others}")
    size = next(decode_pictures(store, names[:1], option)).shape[1:]
    with Progress(f"pictures in {printable(path.name)}", len(names), "images") as progress:
        features = extract(extractor, read_batches(store, names, size, option, BATCH[extractor.device.type], progress))
    return Pictures(path, sha256, size, features[shuffle(len(features)).to(features.device)])


def list_folder(folder: Path) -> tuple[Store, list[str], Counter[str], str]:
    """Returns the files in a folder, the names of those that are pictures, how many others of each kind, and a hash of names and contents."""
    unread: Counter[str] = Counter()
    names, others = find_photos(walk(folder, unread))
    files = {name: hash_photo(folder / name)[0] for name in names}
    return FolderStore(folder, files), names, unread + others, hashlib.sha256(json.dumps(files).encode()).hexdigest()


def list_zip(path: Path) -> tuple[Store, list[str], Counter[str], str]:
    """Returns the files in a zip, the names of those that are pictures, how many others of each kind, and the zip's hash."""
    store = ZipStore(path)
    return store, *find_photos(store.list_files()), hash_file(path)


def read_batches(store: Store, names: list[str], size: tuple[int, int], option: str, batch: int, progress: Progress) -> Iterator[Tensor]:
    """Yields uint8 batches (B, 3, H, W) of the pictures. Raises FaceganError at one that cannot be read, or is of another size."""
    pictures = zip(names, decode_pictures(store, names, option), strict=True)
    while part := list(itertools.islice(pictures, batch)):
        for name, picture in part:
            if picture.shape[1:] != size:
                problem = (
                    f"expected pictures of one size; found {name_size(size)} and, in {printable(name)}, {name_size(picture.shape[1:])}"
                )
                raise FaceganError(f"{option}: {problem}; {NOT_RESIZED}")
        yield torch.from_numpy(np.stack([picture for _, picture in part]))
        progress.add(len(part))


def decode_pictures(store: Store, names: list[str], option: str) -> Iterator[np.ndarray]:
    """Yields each picture (3, H, W) in uint8, RGB. Raises FaceganError at one that cannot be read."""
    for name, content in zip(names, store.read_all(names), strict=True):
        try:
            yield np.asarray(Photo(content).decode()).transpose(2, 0, 1)
        except UnreadablePicture as error:
            raise FaceganError(f"{option}: expected a picture in {printable(name)}; found {error}; mend it or take it away") from None


def name_size(size: tuple[int, int]) -> str:
    """Returns height and width in words."""
    return f"{size[1]}×{size[0]} pixels"
