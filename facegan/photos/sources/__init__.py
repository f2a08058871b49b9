"""Where photos come from: drawn on the spot, Kaggle, a person's folder, a zip file.

In: the section ``data``. Out: ``data/raw`` with one archive (or, for a folder, the list of its photos) and manifest.json. Each
source is a function ``(parameters, raw, home) -> Manifest`` that fills the empty folder ``raw``.
"""

from collections.abc import Callable
from pathlib import Path

from facegan.common.errors import FaceganError, printable
from facegan.common.files import lock_folder
from facegan.photos.manifest import ARCHIVE, FILES, MANIFEST, Manifest, write_manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.sources.archive import take_archive
from facegan.photos.sources.avatars import draw_avatars
from facegan.photos.sources.folder import list_folder
from facegan.photos.sources.kaggle import take_kaggle

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
    with lock_folder(raw, "downloads into it"):
        make_empty(raw)
        manifest = SOURCES[parameters.source](parameters, raw, home)
        if not manifest.images:
            raise FaceganError(f"expected photos in {printable(str(parameters.path))}; found {describe_no_photos(manifest)}")
        write_manifest(raw, manifest)
    return manifest


def describe_no_photos(manifest: Manifest) -> str:
    """Returns what was found instead of photos, and what to do."""
    if ".zip" not in manifest.left_out:
        return f"none (looked for .jpg, .png and the like), but {manifest.describe_left_out() or 'nothing'}; check data.path"
    if manifest.archive is None:
        return "a zip, not photos; set data.source to archive and data.path to that zip"
    return (
        "a zip within the zip; unpack it, and set data.path to the zip in it, or data.source to folder and data.path to the unpacked photos"
    )


def make_empty(raw: Path) -> None:
    """Makes the folder, or takes an earlier download out of it, also one that was cut short. Raises FaceganError when it holds anything else."""
    raw.mkdir(parents=True, exist_ok=True)
    ours = [name + ending for name in (MANIFEST, ARCHIVE, FILES) for ending in ("", ".part")]
    others = sorted(path.name for path in raw.iterdir() if path.name not in ours)
    if others:
        raise FaceganError(
            f"expected an empty folder, or an earlier download, in {raw}; found {printable(others[0])}; choose another --out"
        )
    for name in ours:
        (raw / name).unlink(missing_ok=True)
