"""Reads the progress of running and stopped training runs from their folders below ``.checkpoints``, without disturbing them.

Nothing there is written, locked or waited for. Checkpoints appear by an atomic rename, so they can be read at any time; their tensors are
skipped. Runs that DVC executes in a copy (``--temp``, the queue) store their checkpoints here too.
"""

import io
import json
import os
import re
import time
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, computed_field

from facegan.common.errors import FaceganError
from facegan.models.checkpoint_file import DIGEST_BYTES, FORMAT
from facegan.parameters import read_parameters
from facegan.studio.runs import parse, read_columns, read_text

KEY = re.compile(r"[0-9a-f]{8,64}")
WORKSPACE = "workspace"
IDLE_SECONDS = 300  # on systems without /proc/locks, a run that has written nothing for this long counts as stopped

State = Literal["running", "stopped", "finished"]


class Training(BaseModel):
    """The progress of one training run. The HTTP API returns it, without the excluded fields.

    Attributes:
        name: its key, or "workspace" for the finished one in data/model.
        state: whether it is running, was stopped, or has finished.
        images_seen, images: real images shown so far, and in total; the total is 0 if unknown.
        images_per_second: mean over the run; None if unknown.
        rows: the columns of the losses so far.
        scores: the columns of the quick scores so far.
        warnings: from the collapse detector and the rewinds.
        pictures: progress pictures by images seen.
        parameters: the section ``train``, and the model.
        changed: time of its last write, in seconds since 1970.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    state: State
    images_seen: int
    images: int
    images_per_second: float | None
    rows: dict[str, list[float]]
    scores: dict[str, list[float]]
    warnings: list[str]
    pictures: Annotated[dict[int, Path], Field(exclude=True)]
    parameters: Annotated[dict[str, Any], Field(exclude=True)]
    changed: Annotated[float, Field(exclude=True)]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds_left(self) -> float | None:
        """The remaining time at the speed so far, or None if unknown."""
        left = self.images - self.images_seen
        return left / self.images_per_second if self.images_per_second and left > 0 and self.state != "finished" else None


def find_folders(project: Path) -> list[Path]:
    """Returns the folders of the training runs."""
    return [folder for folder in (project / ".checkpoints").glob("*") if KEY.fullmatch(folder.name) and (folder / "run.json").is_file()]


def find_checkpoints(project: Path) -> dict[str, Path]:
    """Returns the newest checkpoint of each training run by the run's name."""
    found = {folder.name: next((path for path in list_checkpoints(folder) if path.is_file()), None) for folder in find_folders(project)}
    return {name: path for name, path in found.items() if path}


def list_trainings(project: Path) -> list[str]:
    """Returns the names of the training runs: running ones first, then by last write; the finished one in the workspace is last."""
    folders = find_folders(project)
    folders.sort(key=lambda folder: (find_state(folder) == "running", last_change(folder)), reverse=True)
    return [folder.name for folder in folders] + ([WORKSPACE] if (project / "data" / "model" / "progress").is_dir() else [])


def read_training(project: Path, name: str) -> Training:
    """Returns a training run by its name. Raises FaceganError if the name is unknown."""
    if name not in list_trainings(project):
        raise FaceganError(f"expected a training run of this project; found {name[:40]!r}; choose another, or start one with dvc repro")
    return read_finished(project) if name == WORKSPACE else read_folder(project, project / ".checkpoints" / name)


def read_folder(project: Path, folder: Path) -> Training:
    """Returns the training run of a folder of checkpoints."""
    parameters = parse(json.loads, read_text(folder / "run.json")).get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    history, state = read_history(folder), find_state(folder)
    seen, seconds = history.get("images_seen", 0), history.get("seconds", 0.0)
    rewinds = [f"{rewind.get('at_images_seen', 0):,} images: infinite or NaN losses, rewound" for rewind in history.get("rewinds", [])]
    return Training(
        name=folder.name,
        state=state,
        images_seen=seen,
        images=seen if state == "finished" else find_length(project, parameters),
        images_per_second=seen / seconds if seconds else None,
        rows=as_columns(history.get("rows", [])),
        scores=as_columns(history.get("scores", [])),
        warnings=[*history.get("warnings", []), *rewinds],
        pictures=find_pictures(folder / "progress"),
        parameters=parameters,
        changed=last_change(folder),
    )


def find_length(project: Path, parameters: dict[str, Any]) -> int:
    """Returns the total number of images of a training run, or 0 if unknown. A checkpoint's key does not depend on it, so it is read from
    the params.yaml of the workspace, or of a copy in which DVC trains, whose other parameters match.
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
    """Returns the training run that wrote data/model and metrics/ in the workspace."""
    metrics, model = project / "metrics", project / "data" / "model"
    facts, details = (parse(json.loads, read_text(path)) for path in (metrics / "train.json", model / "training.json"))
    seen = int(facts.get("images_seen", 0))
    pictures = find_pictures(model / "progress")
    return Training(
        name=WORKSPACE,
        state="finished",
        images_seen=seen,
        images=seen,
        images_per_second=facts.get("images_per_second"),
        rows=read_columns(read_text(metrics / "losses.csv")),
        scores=read_columns(read_text(metrics / "quick_scores.csv")),
        warnings=list(details.get("warnings") or []),
        pictures=pictures,
        parameters=details.get("parameters") or {},
        changed=max((path.stat().st_mtime for path in pictures.values()), default=0.0),
    )


def find_pictures(folder: Path) -> dict[int, Path]:
    """Returns the progress pictures by images seen, in ascending order."""
    return {int(path.stem): path for path in sorted(folder.glob("*.png")) if path.stem.isdecimal()}


def as_columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Returns rows as columns."""
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}


def last_change(folder: Path) -> float:
    """Returns the time of a training run's last write, in seconds since 1970."""
    times = [path.stat().st_mtime for path in (*list_checkpoints(folder), folder / "state.next.ckpt", folder / "run.json") if path.exists()]
    return max(times, default=0.0)


def list_checkpoints(folder: Path) -> list[Path]:
    """Returns the possible paths of a training run's newest checkpoint, most likely first."""
    kept = sorted(
        (path for path in folder.glob("*/*/state.ckpt") if path.parent.name.isdecimal()),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    return [folder / "state.ckpt", folder / "state.previous.ckpt", *kept]


def find_state(folder: Path) -> State:
    """Returns whether a training run is running, was stopped, or has finished."""
    if is_running(folder):
        return "running"
    return "stopped" if (folder / "state.ckpt").exists() or not any(folder.glob("finished/*/state.ckpt")) else "finished"


def is_running(folder: Path) -> bool:
    """Returns whether a process holds the run's lock (Linux), or whether it has written recently (other systems)."""
    try:
        lock, listed = (folder.parent / f".{folder.name}.lock").stat(), Path("/proc/locks").read_text()
    except OSError:
        return time.time() - last_change(folder) < IDLE_SECONDS
    return f"{os.major(lock.st_dev):02x}:{os.minor(lock.st_dev):02x}:{lock.st_ino} " in listed


def read_history(folder: Path) -> dict[str, Any]:
    """Returns the contents of the newest checkpoint except tensors: images seen, seconds, rows, scores, rewinds, warnings."""
    for path in list_checkpoints(folder):
        try:
            with path.open("rb") as file:
                if file.read(len(FORMAT)) != FORMAT:
                    continue
                with torch.serialization.skip_data():  # does not read tensors
                    state = torch.load(io.BufferedReader(Body(file)), weights_only=True, map_location="cpu")
        except Exception:  # it has just been replaced or removed, or is damaged; the next refresh reads another
            continue
        return {key: value for key, value in state.items() if key not in ("tensors", "best")}
    return {}


class Body(io.RawIOBase):
    """The part of a checkpoint file that ``torch.save`` wrote: without the first line and the hash at the end."""

    def __init__(self, file: BinaryIO):
        self.file, self.start = file, len(FORMAT)
        self.size = os.fstat(file.fileno()).st_size - self.start - DIGEST_BYTES
        self.seek(0)

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        return self.file.seek(self.start + position) - self.start

    def tell(self) -> int:
        return self.file.tell() - self.start

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        content = self.file.read(max(0, min(len(buffer), self.size - self.tell())))
        buffer[: len(content)] = content
        return len(content)
