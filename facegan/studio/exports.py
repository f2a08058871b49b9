"""Exports made for visitors: one at a time, cached in a folder that is deleted with the server."""

import dataclasses
import io
import shutil
import threading
import zipfile
from pathlib import Path

from facegan.common.errors import FaceganError

MAIN_FILES = ("generator.safetensors", "generator.onnx", "page.html")
MAX_KEPT = 4


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported generator: its name (the start of its file's hash), its title, the sizes of its main files in bytes, and remarks."""

    name: str
    title: str
    sizes: dict[str, int]
    words: list[str]


class Exports:
    """Creates exports in a folder and returns their files.

    Args:
        project: the project whose run fills the model cards.
        folder: where the exports are stored.
    """

    def __init__(self, project: Path, folder: Path):
        self.project, self.folder = project, folder
        self.lock = threading.Lock()
        self.made: dict[str, Exported] = {}

    def make(self, model: Path, fingerprint: str, title: str) -> Exported:
        """Returns the export of a generator's file, creating it if needed. Raises FaceganError as ``facegan.export.folder.export`` does."""
        from facegan.export.folder import export

        name = fingerprint[:16]
        folder = self.folder / name
        with self.lock:
            if name not in self.made:
                remarks = export(model, folder, self.project)
                self.made[name] = Exported(name, title, {file: (folder / file).stat().st_size for file in MAIN_FILES}, remarks)
                for oldest in list(self.made)[:-MAX_KEPT]:
                    del self.made[oldest]
                    shutil.rmtree(self.folder / oldest)
            return self.made[name]

    def list_files(self, name: str) -> dict[str, Path]:
        """Returns the files of an export by name. Raises FaceganError if there is no such export."""
        if name not in self.made:
            raise FaceganError(f"expected an existing export; found {name[:40]!r}; create the export first")
        return {path.name: path for path in sorted((self.folder / name).iterdir())}

    def read(self, name: str, file: str) -> bytes:
        """Returns a file of an export. Raises FaceganError if there is no such file."""
        files = self.list_files(name)
        if file not in files:
            raise FaceganError(f"expected one of {', '.join(files)}; found {file[:40]!r}; choose one of those")
        return files[file].read_bytes()

    def read_all(self, name: str) -> bytes:
        """Returns an export as a zip archive. Raises FaceganError if there is no such export."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file, path in self.list_files(name).items():
                archive.write(path, f"{self.made[name].title}/{file}")
        return content.getvalue()
