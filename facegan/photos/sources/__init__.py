"""Sources of photos: drawn avatars, Kaggle, the Hugging Face hub, a local folder, archives.

In: the section ``data``. Out: ``data/raw`` with one archive (or, for a folder, the list of its photos) and manifest.json. Each
source is a function ``(parameters, raw, home) -> Manifest`` that fills the empty folder ``raw``.
"""

from collections.abc import Callable
from pathlib import Path

from facegan.common.errors import FaceganError, printable
from facegan.common.files import lock_folder
from facegan.photos.formats import ARCHIVES
from facegan.photos.manifest import ARCHIVE, FILES, LABELS, MANIFEST, Manifest, write_manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.sources.archive import take_archive
from facegan.photos.sources.avatars import draw_avatars
from facegan.photos.sources.folder import list_folder
from facegan.photos.sources.huggingface import take_huggingface
from facegan.photos.sources.kaggle import take_kaggle

SOURCES: dict[str, Callable[[DataParameters, Path, Path], Manifest]] = {
    "avatars": draw_avatars,
    "kaggle": take_kaggle,
    "folder": list_folder,
    "archive": take_archive,
    "huggingface": take_huggingface,
}


def download(parameters: DataParameters, raw: Path, home: Path) -> Manifest:
    """Fills ``raw`` with the photos, or with a list of them, and returns the manifest, which is written last.

    Args:
        raw: the folder to fill; an earlier download in it is removed first, and it must contain nothing else.
        home: the project folder, where relative paths start.

    Raises:
        FaceganError: the source failed, or has no photos.
    """
    with lock_folder(raw, "downloads into it"):
        clear_download(raw)
        manifest = SOURCES[parameters.source](parameters, raw, home)
        if not manifest.images:
            raise FaceganError(f"expected photos in {printable(str(parameters.path))}; found {describe_no_photos(manifest)}")
        write_manifest(raw, manifest)
    return manifest


def describe_no_photos(manifest: Manifest) -> str:
    """Returns, for an error message, what was found instead of photos, and what to do."""
    if not any(kind in ARCHIVES or kind in (".gz", ".xz", ".zst") for kind in manifest.left_out):
        return f"none (searched for .jpg, .png and similar), only {manifest.describe_left_out() or 'nothing'}; check data.path"
    if manifest.archive is None:
        return "an archive, not photos; set data.source to archive, and data.path to that archive, or to the folder that contains several"
    return (
        "an archive inside the archive; unpack it, and set data.path to the inner archive, "
        "or data.source to folder and data.path to the unpacked photos"
    )


def clear_download(raw: Path) -> None:
    """Creates the folder, or removes an earlier or unfinished download from it. Raises FaceganError if it contains anything else."""
    raw.mkdir(parents=True, exist_ok=True)
    ours = [name + ending for name in (MANIFEST, ARCHIVE, FILES, LABELS) for ending in ("", ".part")]
    others = sorted(path.name for path in raw.iterdir() if path.name not in ours)
    if others:
        raise FaceganError(f"expected an empty folder or an earlier download in {raw}; found {printable(others[0])}; choose another --out")
    for name in ours:
        (raw / name).unlink(missing_ok=True)
