"""Where photos come from: drawn on the spot, Kaggle, a person's folder, a zip file.

In: the section ``data``. Out: ``data/raw`` with one archive (or, for a folder, the list of its photos) and manifest.json. Each
source is a function ``(parameters, raw, home) -> Manifest`` that fills the empty folder ``raw``.
"""

from collections.abc import Callable
from pathlib import Path

from facegan.common.errors import FaceganError
from facegan.photos.parameters import DataParameters
from facegan.photos.sources.archive import take_archive
from facegan.photos.sources.avatars import draw_avatars
from facegan.photos.sources.folder import list_folder
from facegan.photos.sources.kaggle import take_kaggle
from facegan.photos.store import ARCHIVE, FILES, MANIFEST, UNFINISHED, Manifest, write_manifest

SOURCES: dict[str, Callable[[DataParameters, Path, Path], Manifest]] = {
    "avatars": draw_avatars,
    "kaggle": take_kaggle,
    "folder": list_folder,
    "archive": take_archive,
}


def download(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Fills ``raw`` with the photos, or with the list of them, and returns the manifest that it wrote there last.

    Args:
        raw: the folder to fill; what an earlier download left in it goes first, and nothing else may lie there.
        home: the person's project folder, where relative paths start.

    Raises:
        FaceganError: whatever the source could not do, and no photos at all.
    """
    make_empty(raw)
    manifest = SOURCES[parameters.source](parameters, raw, home)
    if not manifest.images:
        raise FaceganError(f"expected photos in {parameters.path}; found none (looked for .jpg, .png and the like); check data.path")
    write_manifest(raw, manifest)
    return manifest


def make_empty(raw: Path) -> None:
    """Makes the folder, or takes an earlier download out of it. Raises FaceganError when it holds anything else."""
    raw.mkdir(parents=True, exist_ok=True)
    ours = (MANIFEST, UNFINISHED, ARCHIVE, FILES)
    others = sorted(path.name for path in raw.iterdir() if path.name not in ours)
    if others:
        raise FaceganError(f"expected an empty folder, or an earlier download, in {raw}; found {others[0]}; choose another --out")
    for name in ours:
        (raw / name).unlink(missing_ok=True)
