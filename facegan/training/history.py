"""The history of a run: rows of losses.csv and quick scores, and when they are due, in images seen and full steps."""

import math

import torch

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.training.parameters import TrainParameters
from facegan.training.trainer import GREY_LEVEL, STEP_SUMS, Trainer

JUDGED = ("loss_generator", "loss_discriminator")  # sums that must be finite; the others are only reported
ROWS_BEFORE = 32  # a row of losses.csv covers at most this fraction (1/32) of the images seen before it,
ROW_IMAGES = 10_000  # and at most this many images
LABEL_FACES = 16  # whose diversity within one label is measured


def count_end(parameters: TrainParameters) -> int:
    """Returns the images seen at the end, in full steps."""
    return math.ceil(parameters.images / parameters.batch) * parameters.batch


def is_over(trainer: Trainer) -> bool:
    """Returns whether all images have been shown."""
    return trainer.images_seen >= count_end(trainer.parameters)


def is_due(trainer: Trainer, every_images: int) -> bool:
    """Returns whether an event that happens every ``every_images`` images, in full steps, happens now."""
    return trainer.images_seen % (math.ceil(every_images / trainer.parameters.batch) * trainer.parameters.batch) == 0


def is_row_due(images_seen: int, batch: int) -> bool:
    """Returns whether a row of losses.csv is due: after every step at first, then every second, fourth, …"""
    steps = images_seen // batch
    spacing = max(1, min(steps // ROWS_BEFORE, ROW_IMAGES // batch))
    return steps % 2 ** (spacing.bit_length() - 1) == 0  # the largest power of two up to the spacing


def add_row(trainer: Trainer) -> dict[str, float]:
    """Adds the means since the last row to the history, and returns the new row."""
    sums = dict(zip(STEP_SUMS, trainer.world.average(trainer.step_sums.clone()).tolist(), strict=True))
    steps = sums.pop("steps")
    row = {"images_seen": trainer.images_seen, **{name: value / steps for name, value in sums.items()}}
    row["augment_strength"] = float(trainer.strength)
    trainer.step_sums.zero_()
    trainer.rows.append(row)
    return row


@torch.no_grad()
def measure_share_of_latents(trainer: Trainer) -> torch.Tensor:
    """Returns how much images with one label differ from each other, relative to images with several labels: a scalar."""
    generator, latents = trainer.ema_generator(), trainer.control_latents[:LABEL_FACES]
    one_label = latents.clone()
    one_label[:, generator.latent_size :] = latents[0, generator.latent_size :]
    one, several = (generator(inputs).float().std(0).mean() for inputs in (one_label, latents))
    return (one / several.clamp(min=GREY_LEVEL)).clamp(max=1)


def add_score(trainer: Trainer) -> None:
    """Adds a quick score to the history, and keeps the EMA weights if it is the best so far."""
    assert trainer.quick_score is not None
    generator = trainer.ema_generator()
    score = trainer.quick_score(generator)
    if all(score < row["score"] for row in trainer.scores):
        trainer.best = {name: value.clone() for name, value in generator.state_dict().items()}
    trainer.scores.append({"images_seen": trainer.images_seen, "score": score})


def complete(trainer: Trainer) -> None:
    """Adds a row and a quick score for the end, unless they exist. Called in all processes.

    The last checkpoint is written before this, so a longer run continues without them.
    """
    if not trainer.rows or trainer.rows[-1]["images_seen"] < trainer.images_seen:
        add_row(trainer)
    if trainer.quick_score and (not trainer.scores or trainer.scores[-1]["images_seen"] < trainer.images_seen):
        add_score(trainer)


def is_finite(trainer: Trainer) -> bool:
    """Returns whether all weights, optimizer states and losses are finite; the same in all processes."""
    tensors = [value for name, value in trainer.tensors().items() if name != "step_sums" and value.is_floating_point()]
    losses = trainer.world.average(trainer.step_sums.clone())[[STEP_SUMS.index(name) for name in JUDGED]]
    norms = torch._foreach_norm([*tensors, losses])
    return bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all())


def check_collapse(trainer: Trainer, row: dict[str, float], progress: Progress) -> None:
    """Passes a new row to the collapse detector. Raises FaceganError for a collapse, unless the parameters only ask for a warning."""
    if trainer.labels.columns:  # images of several labels differ even if each label has only one image
        row = row | {"diversity": row["diversity"] * float(trainer.world.average(measure_share_of_latents(trainer)))}
    verdict = trainer.collapse_detector.observe(row)
    if verdict is None:
        return
    if trainer.parameters.on_collapse == "stop":
        raise FaceganError(f"{verdict}; or continue anyway with train.on_collapse: warn")
    if not trainer.warnings:
        progress.say(verdict)
        trainer.warnings.append(f"{trainer.images_seen} images: {verdict}")
