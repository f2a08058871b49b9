"""The training loop: load, step, log, score, picture, checkpoint, stop.

In: shards of uint8 images, a model, ``TrainParameters``. Out: the model's folder (generator.safetensors with averaged weights,
discriminator.safetensors, progress/*.png from fixed latents), losses.csv and train.json. After a kill at any point, the same call resumes
from the last checkpoint and ends with byte-identical results; so does a longer run that continues from the end of a shorter one.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.common.progress import Progress
from facegan.common.shards import open_split, read_index
from facegan.common.signals import Interruption
from facegan.models.parameters import ModelParameters
from facegan.training.checkpoint import RunFolder
from facegan.training.hardware import Hardware
from facegan.training.outcome import describe_row, draw_picture, write_outcome
from facegan.training.parameters import TrainParameters
from facegan.training.processes import World
from facegan.training.trainer import JUDGED, QuickScore, Trainer

CHECKPOINT_SECONDS = 20  # minimum between two checkpoints
CHECKPOINT_SHARE = 0.01  # of the time may be spent on timed checkpoints, however slow the disk
LOCK_SECONDS = 0.5  # between two attempts to take a lock
MAX_REWINDS = 3  # per run
ROWS_BEFORE = 32  # a row of losses.csv covers at most this fraction (1/32) of the images seen before it,
ROW_IMAGES = 10_000  # and at most this many images
QUICK_SCORE_IMAGES = 200

OpenQuickScore = Callable[[torch.Tensor, int, torch.device], QuickScore]  # real images (N, 3, H, W) in uint8, seed, device


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where training reads and writes."""

    shards: Path
    model: Path
    metrics: Path
    checkpoints: Path


class Interrupted(Exception):
    """Training was stopped by a signal, after a checkpoint. ``status``: the exit status for it."""

    def __init__(self, signal: int):
        super().__init__(f"stopped by signal {signal}")
        self.status = 128 + signal


def prepare(
    folders: Folders,
    model: ModelParameters,
    parameters: TrainParameters,
    hardware: Hardware,
    world: World,
    open_quick_score: OpenQuickScore,
) -> tuple[Trainer, RunFolder | None]:
    """Returns a new trainer, and in the main process the folder of the run's checkpoints.

    Args:
        open_quick_score: makes the quick score, if the parameters ask for one.

    Raises:
        FaceganError: no images, or parameters that the trainer rejects.
    """
    index, images = read_index(folders.shards), open_split(folders.shards, "train")
    if not images:
        raise FaceganError(f"expected training images in {folders.shards}; found none; see its report.json")
    trainer = Trainer(index, images, model, parameters, hardware, world)
    if not world.is_main:
        return trainer, None
    if parameters.score_every_images:
        trainer.quick_score = open_quick_score(take_first(images, QUICK_SCORE_IMAGES), parameters.seed, hardware.device)
    return trainer, RunFolder(folders.checkpoints, trainer.ingredients())


def take_first(images: list[torch.Tensor], count: int) -> torch.Tensor:
    """Returns the first ``count`` images of all shards, or all if there are fewer."""
    sample: list[torch.Tensor] = []
    for shard in images:
        sample.append(shard[: count - sum(map(len, sample))])
    return torch.cat(sample)


def train(trainer: Trainer, run: RunFolder | None, folders: Folders, checkpoint_seconds: float, accept_code_change: bool = False) -> None:
    """Trains a generator, from the last checkpoint or the end of a shorter run if there is one.

    Args:
        trainer, run: from ``prepare``.
        checkpoint_seconds: minimum between two checkpoints.
        accept_code_change: continue a run that other code has started.

    Raises:
        FaceganError: losses that are infinite or NaN again and again, a collapse, or a full disk.
        Interrupted: a signal; the same call resumes.
    """
    try:
        with Interruption() as interruption:
            wait_for_lock(trainer.world, run, interruption)
            restore(trainer, run, accept_code_change)
            clock = Clock(trainer, checkpoint_seconds)
            total, done = count_end(trainer.parameters), trainer.images_seen
            with Progress("training", total, "images", done, quiet=not trainer.world.is_main) as progress:
                run_loop(trainer, run, clock, interruption, progress)
        trainer.complete()
        if run:
            run.keep_as_finished(trainer.images_seen)
            write_outcome(trainer, run, folders.model, folders.metrics)
            run.tidy()
    finally:
        if run:
            run.release()


def run_loop(trainer: Trainer, run: RunFolder | None, clock: "Clock", interruption: Interruption, progress: Progress) -> None:
    """Trains until all images have been shown.

    Raises:
        Interrupted: after the checkpoint that a signal asked for.
    """
    parameters = trainer.parameters
    while not is_over(trainer):
        trainer.train_step()
        progress.add(parameters.batch)

        if is_row_due(trainer.images_seen, parameters.batch):
            row = trainer.add_row()
            if not all(math.isfinite(row[name]) for name in JUDGED):
                rewind(trainer, run, progress)
                continue
            check_collapse(trainer, row, progress)
            progress.annotate(describe_row(row))
        if trainer.quick_score and is_due(trainer, parameters.score_every_images):
            trainer.add_score()

        picture_due = is_due(trainer, parameters.progress_images)
        signal, clock_due = trainer.world.agree(interruption.check(), int(clock.is_checkpoint_due()))
        if not (picture_due or signal or clock_due or is_over(trainer)):
            continue
        if not trainer.is_finite():
            rewind(trainer, run, progress)
            continue
        if run and picture_due:
            save_png(run.picture(trainer.images_seen), draw_picture(trainer))
        if run:
            clock.save(run, is_good=picture_due)
        if signal:
            raise Interrupted(signal)


def finish(trainer: Trainer, run: RunFolder, folders: Folders) -> None:
    """Writes the results of a stopped run's last checkpoint; the run can still be resumed.

    Raises:
        FaceganError: no such run, or another process is training it.
    """
    if not run.path.exists() or not run.acquire():
        found = "one that another process is training" if run.path.exists() else "none with these parameters, code and data"
        raise FaceganError(f"expected a stopped run in {folders.checkpoints}; found {found}; run train without --finish")
    try:
        if not any(run.path.glob("state*.ckpt")):
            raise FaceganError(f"expected a stopped run in {run.path}; found a finished one; run train without --finish to use its result")
        state, messages = run.load(trainer.find_fault, end=None)
        print(*messages, sep="\n", end="\n" * bool(messages))
        if state is None or not state["images_seen"]:
            raise FaceganError(f"expected a checkpoint after at least one step in {run.path}; found none; run train without --finish")
        trainer.load_state_dict(state)
        trainer.complete()
        write_outcome(trainer, run, folders.model, folders.metrics)
    finally:
        run.release()


def wait_for_lock(world: World, run: RunFolder | None, interruption: Interruption) -> None:
    """Waits until no other process trains the same run; its result is then used. All processes wait together.

    Raises:
        Interrupted: a signal.
    """
    has_printed = False
    while True:
        is_taken, signal = world.agree(int(run is not None and not run.acquire()), interruption.check())
        if signal:
            raise Interrupted(signal)
        if not is_taken:
            return
        if run and not has_printed:
            print(f"another process is training the same run; waiting for its result (checkpoints in {run.path})", flush=True)
            has_printed = True
        time.sleep(LOCK_SECONDS)


def restore(trainer: Trainer, run: RunFolder | None, accept_code_change: bool) -> None:
    """Loads the newest checkpoint, or writes the first, and prints which. All processes get the same state."""
    if run:
        end = count_end(trainer.parameters)
        state, messages = run.load(trainer.find_fault, end)
        other = run.find_with_other_code() if state is None and accept_code_change else None
        if other:
            state, more = run.load_other(other.name, trainer.find_fault, end)
            messages += more
        print(*messages, sep="\n", end="\n" * bool(messages))
        if state:
            trainer.load_state_dict(state)
            if other:
                trainer.code_changes.append({"run": other.name, "at_images_seen": trainer.images_seen})
                run.save(trainer.state_dict())
            where = f"{trainer.images_seen:,} of {end:,} images from {other or run.path}"
            print(f"uses the result of an earlier call: {where}" if is_over(trainer) else f"resumed at {where}", flush=True)
            if trainer.images_seen and is_due(trainer, trainer.parameters.progress_images):
                run.keep_as_good()  # a kill may have come between the checkpoint and this
        else:
            print(run.describe_others() or f"a new run; checkpoints in {run.path}", flush=True)
            save_png(run.picture(0), draw_picture(trainer))
            run.save(trainer.state_dict())
            run.keep_as_good()
    trainer.share_state()


def count_end(parameters: TrainParameters) -> int:
    """Returns the images seen at the end, in full steps."""
    return math.ceil(parameters.images / parameters.batch) * parameters.batch


def is_over(trainer: Trainer) -> bool:
    """Returns whether all images have been shown."""
    return trainer.images_seen >= count_end(trainer.parameters)


def is_due(trainer: Trainer, every_images: int) -> bool:
    """Returns whether an event that happens every ``every_images`` images (in full steps) happens now; independent of the run's length."""
    return trainer.images_seen % (math.ceil(every_images / trainer.parameters.batch) * trainer.parameters.batch) == 0


def is_row_due(images_seen: int, batch: int) -> bool:
    """Returns whether a row of losses.csv is due: after every step at first, then every second, fourth, …; independent of the run's length."""
    steps = images_seen // batch
    spacing = max(1, min(steps // ROWS_BEFORE, ROW_IMAGES // batch))
    return steps % 2 ** (spacing.bit_length() - 1) == 0  # the largest power of two up to the spacing


class Clock:
    """Measures training time, and decides when a checkpoint is due: rarely enough to cost 1% of the time."""

    def __init__(self, trainer: Trainer, checkpoint_seconds: float):
        self.trainer, self.spacing = trainer, checkpoint_seconds
        self.last = self.last_checkpoint = time.monotonic()
        self.cost = 0.0

    def is_checkpoint_due(self) -> bool:
        """Returns whether enough time has passed since the last checkpoint."""
        return time.monotonic() - self.last_checkpoint >= max(self.spacing, self.cost / CHECKPOINT_SHARE)

    def save(self, run: RunFolder, is_good: bool) -> None:
        """Writes a checkpoint; ``is_good`` makes it the one to rewind to."""
        start = time.monotonic()
        self.trainer.seconds += start - self.last
        self.last = start
        self.trainer.ema_generator()  # recalibrates batch norm, so that the checkpoint can be opened as a generator
        run.save(self.trainer.state_dict())
        if is_good:
            run.keep_as_good()
        self.last_checkpoint = time.monotonic()
        self.cost = self.last_checkpoint - start


def rewind(trainer: Trainer, run: RunFolder | None, progress: Progress) -> None:
    """Restores the last good state and continues with other random numbers; a few times per run.

    Raises:
        FaceganError: it has happened too often.
    """
    rewinds = [*trainer.rewinds, {"at_images_seen": trainer.images_seen}]
    if len(rewinds) > MAX_REWINDS:
        raise FaceganError(
            f"expected finite losses; found infinite or NaN ones at {trainer.images_seen:,} images, after {len(rewinds) - 1} rewinds; "
            "lower train.lr, or set train.precision to fp32, or train.penalty to r1 with train.gamma 1"
        )
    if run:
        trainer.load_state_dict(run.load_good())
        trainer.rewinds = rewinds
        rewinds[-1]["to_images_seen"] = trainer.images_seen
        run.save(trainer.state_dict())
    trainer.share_state()
    progress.add(trainer.images_seen - progress.done)
    rewinds = trainer.rewinds
    progress.say(
        f"losses were infinite or NaN at {rewinds[-1]['at_images_seen']:,} images: rewound to {trainer.images_seen:,} images, "
        f"continuing with other random numbers ({len(rewinds)} of at most {MAX_REWINDS} times)"
    )


def check_collapse(trainer: Trainer, row: dict[str, float], progress: Progress) -> None:
    """Passes a new row to the collapse detector. Raises FaceganError for a collapse, unless the parameters only ask for a warning."""
    verdict = trainer.collapse_detector.observe(row)
    if verdict is None:
        return
    if trainer.parameters.on_collapse == "stop":
        raise FaceganError(f"{verdict}; or continue anyway with train.on_collapse: warn")
    if not trainer.warnings:
        progress.say(verdict)
        trainer.warnings.append(f"{trainer.images_seen} images: {verdict}")
