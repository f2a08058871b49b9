"""What training leaves to read: the rows of losses.csv."""

import math
import sys
from pathlib import Path

import torch

from facegan.common.files import write_bytes

COLUMNS = ("images_seen", "loss_generator", "loss_discriminator", "real_logit", "fake_logit", "real_sign", "diversity", "augment_strength")


def write_rows(path: Path, columns: tuple[str, ...], rows: list[dict[str, float]]) -> None:
    """Writes a table as CSV; the same rows give the same bytes. By hand, since training imports no pandas."""
    lines = [",".join(columns)]
    lines += [",".join(str(row[name]) if name == "images_seen" else f"{row[name]:.6g}" for name in columns) for row in rows]
    write_bytes(path, ("\n".join(lines) + "\n").encode())


def measure_peak_memory_mb(device: torch.device) -> float:
    """Returns the most memory this process has held so far, in MB: the GPU's on CUDA, else main memory (NaN where the system does not tell)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows; what is not known is not told
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def describe_row(row: dict[str, float]) -> str:
    """Returns the losses in a few words."""
    return f"loss G {row['loss_generator']:.2f} D {row['loss_discriminator']:.2f}"
