"""Exports made for visitors: one at a time, each kept for the next who asks, in a folder that goes with the server."""

import dataclasses
import io
import threading
import zipfile
from pathlib import Path

from facegan.common.errors import FaceganError

FILES = ("README.md", "generator.safetensors", "generator.onnx", "generator.py", "draw_torch.py", "draw_onnx.py", "page.html", "grid.png")
MOST_KEPT = 4


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported generator: its name (the first digits of its file's hash), the files' sizes in bytes, and what is to say of them."""

    name: str
    sizes: dict[str, int]
    words: list[str]


class Exports:
    """Makes exports below a folder and hands out their files.

    Args:
        project: whose run fills the model cards.
        folder: where they are kept.
    """

    def __init__(self, project: Path, folder: Path):
        self.project, self.folder = project, folder
        self.lock = threading.Lock()
        self.made: dict[str, Exported] = {}

    def make(self, model: Path, fingerprint: str) -> Exported:
        """Returns the export of a generator's file, made now if need be. Raises FaceganError as ``facegan.export.folder.export`` does."""
        from facegan.export.folder import export

        name = fingerprint[:16]
        with self.lock:
            if name not in self.made:
                words = export(model, self.folder / name, self.project)
                sizes = {
                    file: (self.folder / name / file).stat().st_size for file in ("generator.safetensors", "generator.onnx", "page.html")
                }
                self.made[name] = Exported(name, sizes, words)
                for oldest in list(self.made)[:-MOST_KEPT]:
                    self.forget(oldest)
            return self.made[name]

    def forget(self, name: str) -> None:
        """Removes an export."""
        del self.made[name]
        for file in FILES:
            (self.folder / name / file).unlink(missing_ok=True)

    def read(self, name: str, file: str) -> bytes:
        """Returns a file of an export. Raises FaceganError when there is none."""
        if name not in self.made or file not in FILES:
            raise FaceganError(f"expected a file of an export made here ({', '.join(FILES)}); found {file[:40]!r}; make the export first")
        return (self.folder / name / file).read_bytes()

    def read_all(self, name: str) -> bytes:
        """Returns an export as a zip archive. Raises FaceganError when there is none."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in FILES:
                archive.writestr(f"facegan-{name}/{file}", self.read(name, file))
        return content.getvalue()
