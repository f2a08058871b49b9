"""Training: fetch, move, move, average, report, save.

In: shards of uint8 images, a model, ``TrainParameters``. Out: the model's folder (generator.safetensors with the averaged
weights, discriminator.safetensors, progress/*.png from fixed latents), losses.csv and train.json. Killed at any instant, the same
call goes on from its last checkpoint and ends in the same bytes; so does a longer run that goes on from a shorter one's end.
"""

import dataclasses
import math
import shutil
import time
from pathlib import Path
from typing import Any

from facegan.common.errors import FaceganError
from facegan.common.files import discard, replace_folder, write_json
from facegan.common.pictures import save_png
from facegan.common.progress import Progress
from facegan.common.shards import open_split, read_index
from facegan.models.parameters import ModelParameters
from facegan.training.checkpoint import RunFolder
from facegan.training.distributed import World
from facegan.training.engine import Hardware
from facegan.training.history import COLUMNS, describe_row, write_rows
from facegan.training.parameters import TrainParameters
from facegan.training.run import JUDGED, OpenQuickScore, Training
from facegan.training.signals import Interruption

CHECKPOINT_SECONDS = 20  # between two checkpoints, at least
WAITING_SECONDS = 0.5  # between two looks at a lock
MAX_REWINDS = 3  # of one run, when its numbers explode
CHECKPOINT_SHARE = 0.01  # of the time may go into timed checkpoints, however slow the disk


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where training reads and writes."""

    shards: Path
    model: Path
    metrics: Path
    checkpoints: Path


class Interrupted(Exception):
    """Training stopped for a signal, after a checkpoint. ``status``: the exit status that tells so."""

    def __init__(self, signal: int):
        super().__init__(f"stopped by signal {signal}")
        self.status = 128 + signal


def train(
    folders: Folders,
    model: ModelParameters,
    parameters: TrainParameters,
    hardware: Hardware,
    world: World,
    checkpoint_seconds: float,
    open_quick_score: OpenQuickScore,
) -> None:
    """Trains a generator, from the last checkpoint on where there is one, or from the end of a shorter run.

    Args:
        checkpoint_seconds: between two checkpoints, at least.
        open_quick_score: makes the quick score, where the parameters ask for one.

    Raises:
        FaceganError: no images, numbers that keep exploding, a collapse, or a disk that takes no more.
        Interrupted: a signal; the same call resumes.
    """
    training, run = prepare(folders, model, parameters, hardware, world, open_quick_score)
    try:
        with Interruption() as interruption:
            wait_for_others(world, run, interruption)
            begin(training, run)
            clock = Clock(training, checkpoint_seconds)
            with Progress("training", training.end, "images", done=training.images_seen, quiet=not world.is_main) as progress:
                while not training.is_over():
                    run_step(training, run, clock, interruption, progress)
        training.complete()
        if run:
            run.keep_as_finished(training.images_seen)
            write_outcome(training, run, folders)
            run.tidy()
    finally:
        if run:
            run.release()


def finish(
    folders: Folders,
    model: ModelParameters,
    parameters: TrainParameters,
    hardware: Hardware,
    world: World,
    open_quick_score: OpenQuickScore,
) -> int:
    """Makes what ``train`` makes out of the last checkpoint of a run that was stopped, which stays as it is. Returns the images it has seen.

    Raises:
        FaceganError: no such run, or one that another process trains at this moment.
    """
    training, run = prepare(folders, model, parameters, hardware, world, open_quick_score)
    if not (folders.checkpoints / run.key).exists() or not run.acquire():
        found = (
            "one that another process trains" if (folders.checkpoints / run.key).exists() else "none with these parameters, code and data"
        )
        raise FaceganError(f"expected a stopped run in {folders.checkpoints}; found {found}; see train without --finish")
    try:
        state, messages = run.load(training.find_fault, end=None)
        print(*messages, sep="\n", end="\n" * bool(messages))
        if state is None or not state["images_seen"]:
            raise FaceganError(
                f"expected a stopped run with a checkpoint in {run.path}; found none after a first step; train on with the same command"
            )
        training.load_state(state)
        training.complete()
        write_outcome(training, run, folders)
    finally:
        run.release()
    return training.images_seen


def prepare(
    folders: Folders,
    model: ModelParameters,
    parameters: TrainParameters,
    hardware: Hardware,
    world: World,
    open_quick_score: OpenQuickScore,
) -> tuple[Training, RunFolder | None]:
    """Returns the run at its very beginning, and in the first process the folder of its checkpoints."""
    index, images = read_index(folders.shards), open_split(folders.shards, "train")
    if not images:
        raise FaceganError(f"expected training images in {folders.shards}; found none; look at its report.json")
    training = Training(index, images, model, parameters, hardware, world, open_quick_score)
    return training, RunFolder(folders.checkpoints, training.ingredients()) if world.is_main else None


def wait_for_others(world: World, run: RunFolder | None, interruption: Interruption) -> None:
    """Waits until no other process trains the same run; its result is then taken. All processes wait alike.

    Raises:
        Interrupted: a signal.
    """
    told = False
    while True:
        is_taken, signal = world.agree(int(run is not None and not run.acquire()), interruption.check())
        if signal:
            raise Interrupted(signal)
        if not is_taken:
            return
        if run and not told:
            print(f"another process trains this very run; waiting for its result (checkpoints in {run.path})", flush=True)
            told = True
        time.sleep(WAITING_SECONDS)


def run_step(training: Training, run: RunFolder | None, clock: "Clock", interruption: Interruption, progress: Progress) -> None:
    """One step, and after it whatever is due: a row, a look for collapse, a picture, a checkpoint, an end.

    Raises:
        Interrupted: after the checkpoint that a signal asked for.
    """
    training.step()
    progress.add(training.parameters.batch)
    if training.is_row_due():
        row = training.add_row()
        if not all(math.isfinite(row[name]) for name in JUDGED):
            return rewind(training, run, progress)
        check_collapse(training, row, progress)
        progress.annotate(describe_row(row))

    if training.quick_score and training.is_due(training.parameters.score_every_images):
        training.add_score()
    picture_due = training.is_due(training.parameters.progress_images)
    signal, clock_due = training.world.agree(interruption.check(), int(clock.is_checkpoint_due()))
    if not (picture_due or signal or clock_due or training.is_over()):
        return None
    if not training.is_finite():
        return rewind(training, run, progress)
    if run and picture_due:
        save_png(run.picture(training.images_seen), training.draw_picture())
    if run:
        clock.save(run, is_good=picture_due)
    if signal:
        raise Interrupted(signal)
    return None


def begin(training: Training, run: RunFolder | None) -> None:
    """Loads the newest checkpoint, or makes the first, and says which."""
    if run:
        state, messages = run.load(training.find_fault, training.end)
        print(*messages, sep="\n", end="\n" * bool(messages))
        if state:
            training.load_state(state)
            where = f"{training.images_seen:,} of {training.end:,} images from {run.path}"
            print(f"takes what an earlier call has trained: {where}" if training.is_over() else f"resumed at {where}", flush=True)
            if training.images_seen and training.is_due(training.parameters.progress_images):
                run.keep_as_good()  # a kill may have come between the checkpoint and this
        else:
            print(run.describe_others() or f"a new run; checkpoints in {run.path}", flush=True)
            save_png(run.picture(0), training.draw_picture())
            run.save(training.state())
            run.keep_as_good()
    training.share_state()


class Clock:
    """Counts training time, and says when the next checkpoint is due: seldom enough to cost a hundredth of the time."""

    def __init__(self, training: Training, checkpoint_seconds: float):
        self.training, self.spacing = training, checkpoint_seconds
        self.last = self.last_checkpoint = time.monotonic()
        self.cost = 0.0

    def is_checkpoint_due(self) -> bool:
        """Returns whether enough time has gone by since the last checkpoint."""
        return time.monotonic() - self.last_checkpoint >= max(self.spacing, self.cost / CHECKPOINT_SHARE)

    def save(self, run: RunFolder, is_good: bool) -> None:
        """Writes a checkpoint; ``is_good`` makes it the one to go back to."""
        began = time.monotonic()
        self.training.seconds += began - self.last
        self.last = began
        self.training.ema_generator()  # with batch norm's statistics of its own, so that the checkpoint alone makes faces
        run.save(self.training.state())
        if is_good:
            run.keep_as_good()
        self.last_checkpoint = time.monotonic()
        self.cost = self.last_checkpoint - began


def rewind(training: Training, run: RunFolder | None, progress: Progress) -> None:
    """Goes back to the last good state, to draw other numbers from there; a few times, then gives up.

    Raises:
        FaceganError: it has happened too often.
    """
    rewinds = [*training.rewinds, {"at_images_seen": training.images_seen}]
    if len(rewinds) > MAX_REWINDS:
        raise FaceganError(
            f"expected finite losses; found them infinite or NaN at {training.images_seen:,} images, after going back {len(rewinds) - 1} times; "
            "lower train.lr, or set train.precision to fp32, or train.penalty to r1 with train.gamma 1"
        )
    if run:
        training.load_state(run.load_good())
        training.rewinds = rewinds
        rewinds[-1]["to_images_seen"] = training.images_seen
        run.save(training.state())
    training.share_state()
    progress.add(training.images_seen - progress.done)
    rewinds = training.rewinds
    progress.say(
        f"losses were infinite or NaN at {rewinds[-1]['at_images_seen']:,} images: back to {training.images_seen:,}, "
        f"with another draw ({len(rewinds)} of at most {MAX_REWINDS})"
    )


def check_collapse(training: Training, row: dict[str, float], progress: Progress) -> None:
    """Asks the collapse detector about the new row. Raises FaceganError for a collapse, unless that is only to be told."""
    verdict = training.collapse_detector.observe(row)
    if verdict is None:
        return
    if training.parameters.on_collapse == "stop":
        raise FaceganError(f"{verdict}; or go on regardless with train.on_collapse: warn")
    if not training.warnings:
        progress.say(verdict)
        training.warnings.append(f"{training.images_seen} images: {verdict}")


def write_outcome(training: Training, run: RunFolder, folders: Folders) -> None:
    """Writes the metrics, and the model's folder: beside its place first, then into it in one step, so that nothing of another run stays."""
    with replace_folder(folders.model) as folder:
        (folder / "progress").mkdir()
        training.save_generators(folder)
        for path in run.pictures(training.images_seen):
            shutil.copyfile(path, folder / "progress" / path.name)
        save_png(folder / "progress" / run.picture(training.images_seen).name, training.draw_picture())
        write_json(folder / "training.json", describe_training(training))
        write_metrics(training, folders.metrics)


def write_metrics(training: Training, folder: Path) -> None:
    """Writes losses.csv, quick_scores.csv and train.json; the scores of the model that goes go too."""
    discard(folder / "evaluate.json")
    write_rows(folder / "losses.csv", COLUMNS, training.rows)
    write_rows(folder / "quick_scores.csv", ("images_seen", "score"), training.scores)
    last = training.rows[-1]
    figures = {
        "images_seen": training.images_seen,
        "images_per_second": training.images_seen / max(training.seconds, 1e-9),
        "diversity": last["diversity"],
    }
    digits = {"images_seen": None, "images_per_second": 1}
    finite = {name: value for name, value in figures.items() if math.isfinite(value)}  # JSON knows no NaN
    write_json(folder / "train.json", {name: round(value, digits.get(name, 4)) for name, value in finite.items()})


def describe_training(training: Training) -> dict[str, Any]:
    """Returns what is no metric: the same for the same run, however often it was stopped."""
    return {
        "device": training.hardware.device.type,
        "precision": str(training.hardware.precision).removeprefix("torch."),
        "images_seen": training.images_seen,
        "images_wanted": training.parameters.images,
        "start_from": training.start,  # the files' hashes, wherever they lay
        "rewinds": [
            {"to_images_seen": rewind["to_images_seen"]} for rewind in training.rewinds
        ],  # when it was noticed depends on the clock
        "warnings": training.warnings,
        "quick_score": training.quick_score and training.quick_score.name,
        "parameters": {"model": training.model.as_plain(), "train": training.parameters.model_dump(mode="json", exclude={"start_from"})},
    }
