"""The training loop: load, step, log, score, picture, checkpoint, stop.

In: shards of uint8 images, a model, ``TrainParameters``. Out: the model's folder (generator.safetensors with averaged weights,
discriminator.safetensors, progress/*.png from fixed latents), losses.csv and train.json. After a kill at any point, the same call resumes
from the last checkpoint and ends with byte-identical results; so does a longer run that continues from the end of a shorter one.
"""

import math
from collections.abc import Callable

import torch

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.common.shards import open_split, read_index, read_labels
from facegan.common.signals import Interrupted, Interruption
from facegan.models.parameters import ModelParameters
from facegan.training.agreement import check_agreement
from facegan.training.checkpoint import Checkpointer, RunFolder
from facegan.training.events import Events
from facegan.training.hardware import Hardware
from facegan.training.history import (
    JUDGED,
    add_row,
    add_score,
    check_collapse,
    complete,
    count_end,
    is_due,
    is_finite,
    is_over,
    is_row_due,
)
from facegan.training.microbatch import fit
from facegan.training.outcome import describe_row, save_picture, write_outcome
from facegan.training.parameters import TrainParameters
from facegan.training.processes import World
from facegan.training.resume import Folders, restore, rewind, wait_for_lock
from facegan.training.trainer import QuickScore, Trainer

CHECKPOINT_SECONDS = 20  # minimum between two checkpoints
QUICK_SCORE_IMAGES = 200

OpenQuickScore = Callable[[torch.Tensor, int, torch.device], QuickScore]  # real images (N, 3, H, W) in uint8, seed, device


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
        FaceganError: no images, parameters that the trainer rejects, or processes that would not train the same.
    """
    trainer, run, problem = None, None, ""
    try:
        index, images = read_index(folders.shards), open_split(folders.shards, "train")
        labels = read_labels(folders.shards, "train")
        if not images:
            raise FaceganError(f"expected training images in {folders.shards}; found none; see its report.json")
        trainer = Trainer(index, images, model, parameters, hardware, world, labels)
        run = RunFolder(folders.checkpoints, trainer.ingredients())
    except FaceganError as error:
        if world.size == 1:
            raise
        problem = str(error)
    if world.size > 1:
        check_agreement(world, problem, run.ingredients if run else {}, run)
    assert trainer is not None and run is not None
    if parameters.microbatch == "auto" and hardware.device.type == "cuda":
        trainer.set_microbatch(fit(trainer))
    if not world.is_main:
        return trainer, None
    if parameters.score_every_images:
        trainer.quick_score = open_quick_score(take_first(images, QUICK_SCORE_IMAGES), parameters.seed, hardware.device)
    return trainer, run


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
            checkpointer = Checkpointer(trainer, checkpoint_seconds)
            folder = run.path / "tensorboard" if run else None
            total, done = count_end(trainer.parameters), trainer.images_seen
            with (
                Events(folder, trainer) as events,
                Progress("training", total, "images", done, quiet=not trainer.world.is_main) as progress,
            ):
                run_loop(trainer, run, checkpointer, interruption, progress, events)
        complete(trainer)
        if run:
            run.keep_as_finished(trainer.images_seen)
            write_outcome(trainer, run, folders.model, folders.metrics)
            run.tidy()
    finally:
        if run:
            run.release()


def run_loop(
    trainer: Trainer,
    run: RunFolder | None,
    checkpointer: Checkpointer,
    interruption: Interruption,
    progress: Progress,
    events: Events,
) -> None:
    """Trains until all images have been shown.

    Raises:
        Interrupted: after the checkpoint that a signal asked for.
    """
    parameters = trainer.parameters
    while not is_over(trainer):
        trainer.train_step()
        progress.add(parameters.batch)

        if is_row_due(trainer.images_seen, parameters.batch):
            row = add_row(trainer)
            if not all(math.isfinite(row[name]) for name in JUDGED):
                rewind(trainer, run, progress)
                continue
            check_collapse(trainer, row, progress)
            progress.annotate(describe_row(row))
        if trainer.quick_score and parameters.score_every_images and is_due(trainer, parameters.score_every_images):
            add_score(trainer)
        events.update(trainer)

        picture_due = is_due(trainer, parameters.progress_images)
        signal, checkpoint_due = trainer.world.agree(interruption.check(), int(checkpointer.is_checkpoint_due()))
        if not (picture_due or signal or checkpoint_due or is_over(trainer)):
            continue
        if not is_finite(trainer):
            rewind(trainer, run, progress)
            continue
        if run and picture_due:
            save_picture(run.picture(trainer.images_seen), trainer)
            events.add_picture(trainer.images_seen, run.picture(trainer.images_seen))
        if run:
            checkpointer.save(run, is_good=picture_due)
        if signal:
            raise Interrupted(signal)
