"""Trainings that run, or were stopped, in a project: what their folders below ``.checkpoints`` tell. Read without disturbing them.

Nothing there is written, locked or waited for. A checkpoint is renamed into its place whole, so it is read as it lies; of its tensors
not a byte is. Trainings that DVC runs in a copy (``--temp``, the queue) keep their checkpoints here too.
"""

import dataclasses
import io
import json
import os
import re
import time
from pathlib import Path
from typing import Any, BinaryIO

import torch

from facegan.common.errors import FaceganError
from facegan.models.checkpoint_file import DIGEST_BYTES, FORMAT
from facegan.parameters import read_parameters
from facegan.studio.runs import parse, read_columns, read_text

KEY = re.compile(r"[0-9a-f]{8,64}")
WORKSPACE = "workspace"
QUIET_SECONDS = 300  # where locks cannot be looked at, a training that wrote nothing for so long counts as stopped


@dataclasses.dataclass(frozen=True)
class Training:
    """What is known of a training.

    Attributes:
        name: its key, or "workspace" for the finished one in data/model.
        state: "running", "stopped" or "finished".
        images_seen, images: real images shown, and to show in all; 0 where nothing says how many.
        images_per_second: over the whole training; None when unknown.
        rows: the columns of the losses so far.
        scores: the columns of the quick scores so far.
        pictures: images seen → progress picture.
        warnings: what the collapse detector and the rewinds said.
        parameters: the section ``train``, and the model.
        changed: when it last wrote, in seconds since 1970.
    """

    name: str
    state: str
    images_seen: int
    images: int
    images_per_second: float | None
    rows: dict[str, list[float]]
    scores: dict[str, list[float]]
    pictures: dict[int, Path]
    warnings: list[str]
    parameters: dict[str, Any]
    changed: float

    @property
    def seconds_left(self) -> float | None:
        """Returns how long it will still take at the speed so far, or None when that cannot be told."""
        left = self.images - self.images_seen
        return left / self.images_per_second if self.images_per_second and left > 0 and self.state != "finished" else None


def list_trainings(project: Path) -> list[str]:
    """Returns the trainings' names: the running first, the newest first, the finished one of the workspace last."""
    folders = [folder for folder in (project / ".checkpoints").glob("*") if KEY.fullmatch(folder.name) and (folder / "run.json").is_file()]
    folders.sort(key=lambda folder: (find_state(folder) == "running", last_change(folder)), reverse=True)
    return [folder.name for folder in folders] + ([WORKSPACE] if (project / "data" / "model" / "progress").is_dir() else [])


def read_training(project: Path, name: str) -> Training:
    """Returns a training by its name. Raises FaceganError when there is none of that name."""
    if name not in list_trainings(project):
        raise FaceganError(
            f"expected a training that this project knows; found {name[:40]!r}; it may have ended: choose another, or start one with dvc repro"
        )
    return read_finished(project) if name == WORKSPACE else read_folder(project, project / ".checkpoints" / name)


def read_folder(project: Path, folder: Path) -> Training:
    """Returns what a folder of checkpoints tells."""
    parameters = parse(json.loads, read_text(folder / "run.json")).get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    history, state = read_history(folder), find_state(folder)
    seen, seconds = history.get("images_seen", 0), history.get("seconds", 0.0)
    rewinds = [
        f"{rewind.get('at_images_seen', 0):,} images: losses were infinite or NaN, went back" for rewind in history.get("rewinds", [])
    ]
    return Training(
        folder.name,
        state,
        seen,
        seen if state == "finished" else find_length(project, parameters),
        seen / seconds if seconds else None,
        as_columns(history.get("rows", [])),
        as_columns(history.get("scores", [])),
        find_pictures(folder / "progress"),
        [*history.get("warnings", []), *rewinds],
        parameters,
        last_change(folder),
    )


def find_length(project: Path, parameters: dict[str, Any]) -> int:
    """Returns how many images a training is to show in all, or 0: that is no part of what a checkpoint is named by, so the parameters of the
    workspace, and of the copies that DVC trains in, are compared with the training's own.
    """
    for path in (project / "params.yaml", *sorted((project / ".dvc" / "tmp" / "exps").glob("*/params.yaml"))):
        try:
            found = read_parameters(path)
        except (FaceganError, OSError):
            continue
        train = json.loads(json.dumps(found.train.as_plain()))
        own = {name: value for name, value in (parameters.get("train") or {}).items() if name in train and name != "start_from"}
        if found.model.as_plain() == parameters.get("model") and all(value == train[name] for name, value in own.items()):
            return found.train.images
    return 0


def read_finished(project: Path) -> Training:
    """Returns the training that left data/model and metrics/ in the workspace."""
    facts, told = (
        parse(json.loads, read_text(path)) for path in (project / "metrics" / "train.json", project / "data" / "model" / "training.json")
    )
    rows = read_columns(read_text(project / "metrics" / "losses.csv"))
    seen = int(facts.get("images_seen", 0))
    scores = read_columns(read_text(project / "metrics" / "quick_scores.csv"))
    pictures = find_pictures(project / "data" / "model" / "progress")
    changed = max((path.stat().st_mtime for path in pictures.values()), default=0.0)
    warnings, parameters = list(told.get("warnings") or []), told.get("parameters") or {}
    return Training(
        WORKSPACE, "finished", seen, seen, facts.get("images_per_second"), rows, scores, pictures, warnings, parameters, changed
    )


def find_pictures(folder: Path) -> dict[int, Path]:
    """Returns the progress pictures, by images seen, in their order."""
    return {int(path.stem): path for path in sorted(folder.glob("*.png")) if path.stem.isdecimal()}


def as_columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Returns rows as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def last_change(folder: Path) -> float:
    """Returns when a training last wrote something, in seconds since 1970."""
    times = [path.stat().st_mtime for path in (*list_checkpoints(folder), folder / "state.next.ckpt", folder / "run.json") if path.exists()]
    return max(times, default=0.0)


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns where a training's newest checkpoint may lie, the likeliest place first."""
    kept = sorted(
        (path for path in folder.glob("*/*/state.ckpt") if path.parent.name.isdecimal()),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    return [folder / "state.ckpt", folder / "state.previous.ckpt", *kept]


def find_state(folder: Path) -> str:
    """Returns "running", "stopped" or "finished"."""
    if is_running(folder):
        return "running"
    return "stopped" if (folder / "state.ckpt").exists() or not any(folder.glob("finished/*/state.ckpt")) else "finished"


def is_running(folder: Path) -> bool:
    """Returns whether a process holds the training's lock, as Linux lists locks; elsewhere, whether it wrote something of late."""
    try:
        lock, listed = (folder.parent / f".{folder.name}.lock").stat(), Path("/proc/locks").read_text()
    except OSError:
        return time.time() - last_change(folder) < QUIET_SECONDS
    return f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino} " in listed


def read_history(folder: Path) -> dict[str, Any]:
    """Returns a checkpoint's numbers without its tensors: images seen, seconds, rows, scores, rewinds, warnings."""
    for path in list_checkpoints(folder):
        try:
            with path.open("rb") as file:
                if file.read(len(FORMAT)) != FORMAT:
                    continue
                with torch.serialization.skip_data():  # tensors stay on the disk
                    state = torch.load(Body(file), weights_only=True, map_location="cpu")
        except Exception:  # it was replaced or removed this instant, or is torn: the next look finds another
            continue
        return {key: value for key, value in state.items() if key not in ("tensors", "best")}
    return {}


class Body(io.RawIOBase):
    """What ``torch.save`` wrote into a checkpoint file: all but the line before and the hash behind."""

    def __init__(self, file: BinaryIO):
        self.file, self.start = file, len(FORMAT)
        self.size = os.fstat(file.fileno()).st_size - self.start - DIGEST_BYTES
        self.seek(0)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        return self.file.seek(self.start + place) - self.start

    def tell(self) -> int:
        return self.file.tell() - self.start

    def readinto(self, buffer: Any) -> int:
        content = self.file.read(max(0, min(len(buffer), self.size - self.tell())))
        buffer[: len(content)] = content
        return len(content)
