"""Scores of images in a folder or a zip file, from any generator.

Input: images of one size, and real images of the same size: the pipeline's reference, or another folder or zip. Output: the same report as
for a generator, without the parts that need the generator itself (latents, an untrained copy).

Images are never resized to match; images of another size than the real ones are rejected. Extractors resize every image to 224 or 299
pixels: real images in one step, enlarged faces in two, so the score would include the artefacts of the first step (mainly blocks).
benchmarks/enlarged_faces.py measures this effect on real faces.
"""

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file
from facegan.photos.selection import find_photos, summarise
from facegan.photos.sources.folder import hash_photo, walk
from facegan.photos.store import FolderStore, Store
from facegan.photos.zip_archive import ZipStore
from facegan.preprocessing.images import Photo, UnreadablePicture
from facegan.scoring.evaluate import Report, check_extractor, check_memorisation, round_numbers, score
from facegan.scoring.extractors import BATCH, Extractor
from facegan.scoring.parameters import FEWEST_IMAGES
from facegan.scoring.protocol import PictureProtocol, RealProtocol
from facegan.scoring.reference import Reference, shuffle
from facegan.scoring.scores import Features, extract_with_averages
from facegan.scoring.structure import fit_components, project

NOT_RESIZED = "use the generator's original images (stages/sample.py --native), not resized ones"


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The features of all images in a folder or zip.

    Attributes:
        path: of the folder or zip.
        size: height and width in pixels.
        features, averages: (N, D) and (N, 3 · 16²), in the same fixed random order as those of a reference.
        protocol: of scores against these images; its ``data`` is a hash of the images.
    """

    path: Path
    size: tuple[int, int]
    features: Tensor
    averages: Tensor
    protocol: RealProtocol

    def project(self, components: Tensor) -> Features:
        """Returns the features in both spaces, with these components of the structure space."""
        return Features(self.features, project(self.averages, components))


def score_pictures(pictures: Pictures, real: Reference | Pictures, extractor: Extractor, seed: int) -> Report:
    """Returns the report on the images: the scores by name, their intervals for another set of images, and the protocol.

    Against a reference, it also contains the scores of other real images (the floor), and the memorisation test, whose resampling uses
    the seed.

    Raises:
        FaceganError: images of another size than the real ones, or a reference made with another extractor.
    """
    protocol = real.protocol
    components = real.components if isinstance(real, Reference) else fit_components(real.averages)
    fake = pictures.project(components)
    report: Report = {"pictures": {"path": str(pictures.path), "sha256": pictures.protocol.data}}
    if isinstance(real, Reference):
        check_extractor(real, extractor)
        check_size(pictures, (protocol.resolution, protocol.resolution))
        report |= score(fake, real.real, extractor) | {"floor": real.floor} | check_memorisation(fake, real, seed)
    else:
        check_size(pictures, real.size)
        report |= score(fake, real.project(components), extractor)
    report["protocol"] = PictureProtocol(**dataclasses.asdict(protocol), generated=len(pictures.features)).as_plain()
    return round_numbers(report)


def check_same_size(pictures: Path, real: Path | tuple[int, int]) -> None:
    """Raises FaceganError if the first image has another size than the real ones, before any features are computed.

    Args:
        real: a folder or zip of real images, or their height and width.
    """
    found = measure_first(pictures, "--pictures")
    expected = measure_first(real, "--against") if isinstance(real, Path) else real
    if found != expected and (0, 0) not in (found, expected):
        problem = f"expected images of {describe_size(expected)}, like the real images; found {describe_size(found)}"
        raise FaceganError(f"{problem} in {printable(str(pictures))}; {NOT_RESIZED}")


def measure_first(path: Path, option: str) -> tuple[int, int]:
    """Returns height and width of the first image in a folder or zip; (0, 0) if there is none, which ``extract_pictures`` reports."""
    if not path.exists():
        return 0, 0
    store: Store
    if path.is_dir():
        names, _ = find_photos(walk(path, Counter()))
        store = FolderStore(path, {name: hash_photo(path / name)[0] for name in names[:1]})
    else:
        store = ZipStore(path)
        names, _ = find_photos(store.list_files())
    height, width = next((image.shape[1:] for image in decode_images(store, names[:1], option)), (0, 0))
    return height, width


def check_size(pictures: Pictures, expected: tuple[int, int]) -> None:
    """Raises FaceganError unless the images have the size of the real ones."""
    if pictures.size != expected:
        problem = f"expected images of {describe_size(expected)}, like the real images; found {describe_size(pictures.size)}"
        raise FaceganError(f"{problem} in {printable(str(pictures.path))}; {NOT_RESIZED}")


def extract_pictures(path: Path, option: str, extractor: Extractor) -> Pictures:
    """Returns the features of all images in a folder and its subfolders, or in a zip file.

    Args:
        option: the command-line option that gave the path, for error messages.

    Raises:
        FaceganError: not a folder or zip, too few images, an unreadable image, or images of several sizes.
    """
    path = path.resolve()
    if not path.exists():
        raise FaceganError(f"{option}: expected a folder or a zip file of images; found nothing at {printable(str(path))}; check the path")
    store, names, left_out, sha256 = list_folder(path) if path.is_dir() else list_zip(path)
    others = ", ".join(f"{count:,} {printable(kind)}" for kind, count in summarise(left_out).items())
    if len(names) < FEWEST_IMAGES:
        problem = f"expected at least {FEWEST_IMAGES} images in {printable(str(path))}; found {len(names)}{', ' * bool(others)}{others}"
        raise FaceganError(f"{option}: {problem}; add more images")
    if others:
        print(f"{option}: {len(names):,} images in {printable(path.name)}; skipped: {others}")
    height, width = next(decode_images(store, names[:1], option)).shape[1:]
    batches = read_batches(store, names, (height, width), option, BATCH[extractor.device.type])
    features, averages = extract_with_averages(extractor, batches, f"images in {printable(path.name)}", len(names))
    protocol = RealProtocol(sha256, height, crop="none", filter="none", split="all", real=len(names), **extractor.protocol)
    order = shuffle(len(features)).to(features.device)
    return Pictures(path, (height, width), features[order], averages[order], protocol)


def list_folder(folder: Path) -> tuple[Store, list[str], Counter[str], str]:
    """Returns the files in a folder, the names of the images, the counts of other files by kind, and a hash of names and contents."""
    unread: Counter[str] = Counter()
    names, others = find_photos(walk(folder, unread))
    files = {name: hash_photo(folder / name)[0] for name in names}
    return FolderStore(folder, files), names, unread + others, hashlib.sha256(json.dumps(files).encode()).hexdigest()


def list_zip(path: Path) -> tuple[Store, list[str], Counter[str], str]:
    """Returns the files in a zip, the names of the images, the counts of other files by kind, and the hash of the zip."""
    store = ZipStore(path)
    return store, *find_photos(store.list_files()), hash_file(path)


def read_batches(store: Store, names: list[str], size: tuple[int, int], option: str, batch: int) -> Iterator[Tensor]:
    """Yields uint8 batches (B, 3, H, W) of the images. Raises FaceganError for an unreadable image or one of another size."""
    images = zip(names, decode_images(store, names, option), strict=True)
    while part := list(itertools.islice(images, batch)):
        for name, image in part:
            if image.shape[1:] != size:
                found = f"{describe_size(size)} and, in {printable(name)}, {describe_size(image.shape[1:])}"
                raise FaceganError(f"{option}: expected images of one size; found {found}; {NOT_RESIZED}")
        yield torch.from_numpy(np.stack([image for _, image in part]))


def decode_images(store: Store, names: list[str], option: str) -> Iterator[np.ndarray]:
    """Yields each image (3, H, W) in uint8, RGB. Raises FaceganError for an unreadable image."""
    for name, content in zip(names, store.read_all(names), strict=True):
        try:
            yield np.asarray(Photo(content).decode()).transpose(2, 0, 1)
        except UnreadablePicture as error:
            raise FaceganError(f"{option}: expected an image in {printable(name)}; found {error}; repair or remove it") from None


def describe_size(size: tuple[int, ...]) -> str:
    """Returns height and width as text."""
    return f"{size[1]}×{size[0]} pixels"
