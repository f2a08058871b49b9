"""Small training runs in the test's process, or in a fork of it that may be killed. PyTorch is imported once for all of them."""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from projects import make_shards

from facegan.common.signals import Interrupted
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
    """A quick score without a network: the difference between the mean of generated and real images."""

    name = "brightness"

    def __init__(self, images: torch.Tensor, seed: int, device: torch.device):
        self.real = images.float().mean() / 127.5 - 1
        self.latents = torch.randn(32, 16, generator=torch.Generator().manual_seed(seed))

    def __call__(self, generator: torch.nn.Module) -> float:
        with torch.no_grad():
            return float((generator(self.latents).mean() - self.real).abs())


class SmallRuns:
    """A folder with shards, in which runs with different parameters can be trained."""

    def __init__(self, root: Path, count: int = 60, norm: str = "spectral"):
        self.root, self.norm = root, norm
        self.folders = Folders(root / "data/shards", root / "data/model", root / "metrics", root / ".checkpoints")
        make_shards(root, count, hold_out=False)

    def train(self, width: int = 4, checkpoint_seconds: float = 0, accept_code_change: bool = False, **changes: Any) -> dict[str, str]:
        """Trains. Returns the hashes of the results."""
        train(*self.prepare(width, **changes), self.folders, checkpoint_seconds, accept_code_change)
        return self.hashes()

    def stop_at(self, picture: int, **changes: Any) -> int:
        """Trains in a fork, and interrupts it when it draws the picture with this number. Returns its exit status."""

        def interrupt(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "os.rename" and str(arguments[1]).endswith(f"progress/{picture:010d}.png"):
                os.kill(os.getpid(), signal.SIGINT)

        def work() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            sys.addaudithook(interrupt)
            try:
                self.train(**changes)
            except Interrupted as interruption:
                sys.stdout.flush()
                os._exit(interruption.status)

        return in_a_fork(work)

    def finish(self, width: int = 4, **changes: Any) -> int:
        """Writes the results of a stopped run. Returns how many images it has seen."""
        trainer, run = self.prepare(width, **changes)
        finish(trainer, run, self.folders)
        return trainer.images_seen

    def prepare(self, width: int = 4, **changes: Any) -> tuple[Trainer, RunFolder]:
        model = DCGANParameters(width=width, latent_size=16, discriminator_norm=self.norm)
        return prepare(self.folders, model, self.parameters(**changes), choose_hardware("cpu", "auto"), World(), Brightness)

    def parameters(self, **changes: Any) -> TrainParameters:
        small = {"images": 48, "batch": 8, "progress_images": 24, "device": "cpu", "score_every_images": 40}
        return read_preset("demo", train=small | changes).train

    def hashes(self) -> dict[str, str]:
        """Returns the hash of each file that training wrote, except train.json, which contains times."""
        files = [path for folder in (self.folders.model, self.folders.metrics) for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.name != "train.json"}

    def runs(self) -> list[Path]:
        return [path for path in self.folders.checkpoints.iterdir() if path.is_dir()]


def in_a_fork(work: Callable[[], Any]) -> int:
    """Does the work in a fork of this process. Returns its exit status, negative for a signal."""
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
    """Calls ``act`` in this process just before the n-th change of a file below a folder: opened for writing, created, renamed, removed."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event not in FILE_EVENTS or (event == "open" and str(arguments[1]).startswith("r")):
            return
        place = str(arguments[0])
        if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # a name in an open folder, as in shutil.rmtree
            place = os.path.join(os.readlink(f"/proc/self/fd/{arguments[1]}"), place)
        if place.startswith(str(below)):
            seen += 1
            if seen == number:
                act()

    sys.addaudithook(hook)
