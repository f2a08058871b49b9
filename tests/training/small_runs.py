"""Small trainings in the test's own process, or in a fork of it that may be killed: PyTorch is imported once for all of them."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from projects import draw_pictures

from facegan.common.shards import ShardWriter
from facegan.models.parameters import DCGANParameters
from facegan.training.checkpoint import RunFolder
from facegan.training.hardware import choose_hardware
from facegan.training.loop import prepare, train
from facegan.training.parameters import TrainParameters
from facegan.training.processes import World
from facegan.training.resume import Folders, finish
from facegan.training.trainer import Trainer
from presets import read_preset

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link")


class Brightness:
    """A quick score that needs no network: how far generated pictures are from the real ones in the mean."""

    name = "brightness"

    def __init__(self, images: torch.Tensor, seed: int, device: torch.device):
        self.real = images.float().mean() / 127.5 - 1
        self.latents = torch.randn(32, 16, generator=torch.Generator().manual_seed(seed))

    def __call__(self, generator: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((generator(self.latents).mean() - self.real).abs())


class SmallRuns:
    """A folder with shards, in which runs of different parameters can be trained."""

    def __init__(self, root: Path, count: int = 60):
        self.folders = Folders(root / "data/shards", root / "data/model", root / "metrics", root / ".checkpoints")
        with ShardWriter(self.folders.shards, 32) as writer:
            for picture in draw_pictures(count, 32):
                writer.add("train", picture)
            writer.finish(crop="none", filter="lanczos", source_fingerprint=f"drawn {count}")

    def parameters(self, **changes: Any) -> TrainParameters:
        small = {"images": 48, "batch": 8, "progress_images": 24, "device": "cpu", "score_every_images": 40}
        return read_preset("demo", train=small | changes).train

    def train(self, width: int = 4, checkpoint_seconds: float = 0, accept_code_change: bool = False, **changes: Any) -> dict[str, str]:
        """Trains, and returns the outcome's hashes."""
        train(*self.prepare(width, **changes), self.folders, checkpoint_seconds, accept_code_change)
        return self.hashes()

    def finish(self, width: int = 4, **changes: Any) -> int:
        """Writes the results of a stopped run; returns the images that it has seen."""
        trainer, run = self.prepare(width, **changes)
        finish(trainer, run, self.folders)
        return trainer.images_seen

    def prepare(self, width: int = 4, **changes: Any) -> tuple[Trainer, RunFolder]:
        return prepare(self.folders, self.model(width), self.parameters(**changes), choose_hardware("cpu", "auto"), World(), Brightness)

    def model(self, width: int) -> DCGANParameters:
        return DCGANParameters(width=width, latent_size=16, discriminator_norm="spectral")

    def hashes(self) -> dict[str, str]:
        """Returns the hash of every file that training has left, but for the one that tells seconds."""
        files = [path for folder in (self.folders.model, self.folders.metrics) for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.name != "train.json"}

    def runs(self) -> list[Path]:
        return [path for path in self.folders.checkpoints.iterdir() if path.is_dir()]


def in_a_fork(work: Callable[[], Any]) -> int:
    """Does the work in a fork of this process, and returns its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def at_file_event(below: Path, number: int, act: Callable[[], None]) -> None:
    """From now on in this process: ``act`` comes before the so manieth time that a file below a folder is opened for writing, made,
    renamed or removed."""
    seen = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event not in FILE_EVENTS or (event == "open" and str(arguments[1]).startswith("r")):
            return
        place = str(arguments[0])
        if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # a name within an open folder, as shutil.rmtree has it
            place = os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), place)
        if place.startswith(str(below)):
            seen += 1
            if seen == number:
                act()

    sys.addaudithook(hook)
