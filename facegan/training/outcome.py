"""What a run leaves: generator, discriminator, progress pictures, losses.csv, train.json and training.json."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from facegan.common.files import discard, replace_folder, write_bytes, write_json, write_sealed_json
from facegan.common.pictures import make_grid, save_png
from facegan.models.generator_file import save_generator
from facegan.models.latents import generate_images
from facegan.models.layers import CALIBRATION_BATCH
from facegan.training.checkpoint import RunFolder
from facegan.training.trainer import COLUMNS, Trainer


def draw_picture(trainer: Trainer) -> np.ndarray:
    """Returns a grid of faces from the control latents, always the same ones, as (H, W, 3) uint8."""
    generator = trainer.ema_generator()
    faces = torch.cat([generate_images(generator, latents) for latents in trainer.control_latents.split(CALIBRATION_BATCH)])
    return make_grid(faces, columns=math.ceil(math.sqrt(len(faces))))


def save_picture(path: Path, trainer: Trainer) -> None:
    """Writes the progress picture."""
    save_png(path, draw_picture(trainer), trainer.make_card(trainer.images_seen).mark.replace("progress of the training"))


def write_outcome(trainer: Trainer, run: RunFolder, model: Path, metrics: Path) -> None:
    """Writes the metrics, and replaces the model's folder in one step, so nothing of another run stays."""
    with replace_folder(model) as folder:
        generator = trainer.ema_generator()
        save_generator(folder / "generator.safetensors", generator, trainer.make_card(trainer.images_seen))
        save_generator(folder / "discriminator.safetensors", trainer.discriminator, trainer.make_card(trainer.images_seen))
        (folder / "progress").mkdir()
        for path in run.pictures(trainer.images_seen):
            shutil.copyfile(path, folder / "progress" / path.name)
        save_picture(folder / "progress" / run.picture(trainer.images_seen).name, trainer)
        write_sealed_json(folder / "training.json", describe_training(trainer))
        if trainer.best:
            best = min(trainer.scores, key=lambda row: row["score"])
            generator.load_state_dict(trainer.best)
            save_generator(folder / "best.safetensors", generator, trainer.make_card(int(best["images_seen"])))
        write_metrics(trainer, metrics)


def describe_training(trainer: Trainer) -> dict[str, Any]:
    """Returns the facts about a run that are not metrics; they do not depend on how often it was interrupted."""
    result = {
        "device": trainer.hardware.device.type,
        "precision": str(trainer.hardware.precision).removeprefix("torch."),
        "images_seen": trainer.images_seen,
        "images_wanted": trainer.parameters.images,
        "start_from": trainer.start,  # the files' hashes, so the same for any folder
        "rewinds": [{"to_images_seen": rewind["to_images_seen"]} for rewind in trainer.rewinds],  # when it was noticed depends on the clock
        "warnings": trainer.warnings,
        "quick_score": trainer.quick_score and trainer.quick_score.name,
        "parameters": {
            "model": trainer.model.as_plain(),
            "train": trainer.parameters.model_dump(mode="json", exclude={"start_from"}),
        },
    }
    return result | ({"code_changes": trainer.code_changes} if trainer.code_changes else {})


def write_metrics(trainer: Trainer, folder: Path) -> None:
    """Writes losses.csv, quick_scores.csv and train.json, and removes the scores of the model that was replaced."""
    discard(folder / "evaluate.json")
    write_rows(folder / "losses.csv", COLUMNS, trainer.rows)
    write_rows(folder / "quick_scores.csv", ("images_seen", "score"), trainer.scores)
    figures = {
        "images_seen": trainer.images_seen,
        "images_per_second": round(trainer.images_seen / max(trainer.seconds, 1e-9), 1),
        "diversity": round(trainer.rows[-1]["diversity"], 4),
    }
    write_json(folder / "train.json", {name: value for name, value in figures.items() if math.isfinite(value)})  # JSON has no NaN


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, float]]) -> None:
    """Writes a table as CSV; the same rows give byte-identical files. Training does not import pandas."""
    lines = [",".join(columns)]
    lines += [",".join(str(row[name]) if name == "images_seen" else f"{row[name]:.6g}" for name in columns) for row in rows]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def describe_row(row: dict[str, float]) -> str:
    """Returns the losses in a few words."""
    return f"loss G {row['loss_generator']:.2f} D {row['loss_discriminator']:.2f}"
