"""The processor to compute on, its memory, and reproducible convolutions on it."""

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

MEMORY_FILE = Path("/proc/meminfo")


def find_device() -> torch.device:
    """Returns a CUDA GPU if available, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Within this context convolutions on a GPU are deterministic, in full float32.

    All arguments are given because the defaults of ``cudnn.flags`` disable cuDNN and enable TF32.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def free_memory(device: torch.device) -> int:
    """Returns the free memory of the device (for the CPU: main memory), in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if MEMORY_FILE.exists():
        lines = dict(line.split(":") for line in MEMORY_FILE.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return 4 << 30  # where the system does not report it: half of a small laptop's


def measure_peak_memory_mb(device: torch.device) -> float:
    """Returns this process's peak memory in MB: on the GPU for CUDA, else main memory (NaN where the system does not report it)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
