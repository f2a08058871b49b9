"""What training leaves to read: the rows of losses.csv, train.json."""

import csv
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import torch

COLUMNS = ("images_seen", "loss_generator", "loss_discriminator", "real_logit", "fake_logit", "real_sign", "diversity", "augment_strength")


def write_text(path: Path, text: str) -> None:
    """Writes a file so that a crash leaves either the old one or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text)
    os.replace(unfinished, path)


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, float]]) -> None:
    """Writes a table as CSV; the same rows give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: row[name] if name == "images_seen" else f"{row[name]:.6g}" for name in columns} for row in rows)
    os.replace(unfinished, path)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a small JSON file, in the order given."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def measure_peak_memory_mb(device: torch.device) -> float:
    """Returns the most memory this process has held so far, in MB: the GPU's on CUDA, else main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def describe_row(row: dict[str, float]) -> str:
    """Returns the losses in a few words."""
    return f"loss G {row['loss_generator']:.2f} D {row['loss_discriminator']:.2f}"
