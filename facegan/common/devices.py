"""The processor to compute on, its memory, and reproducible convolutions on it."""

import contextlib
import ctypes
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
MEMORY_FILE = Path("/proc/meminfo")
CGROUP_FILE, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


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


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory for the next operation, instead of giving it back to the system.

    Getting it again takes a tenth of a training step at 64 px, and a third of an extractor's time, on a CPU.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            ctypes.CDLL(None).mallopt(parameter, 1 << 30)


def free_memory(device: torch.device) -> int:
    """Returns the free memory of the device (for the CPU: main memory), in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = []
    if MEMORY_FILE.exists():
        lines = dict(line.split(":") for line in MEMORY_FILE.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    return max(0, min([*found, *find_limits()], default=4 << 30))  # 4 GB, half of a small laptop's, where the system reports nothing


def find_limits() -> Iterator[int]:
    """Yields what this process may still use under the limits of its containers (cgroup v2 and v1) and of ``ulimit -v``, in bytes."""
    for line in read_lines(CGROUP_FILE):
        _, controllers, name = line.split(":", 2)
        version_2 = not controllers
        if not version_2 and "memory" not in controllers.split(","):
            continue
        root = CGROUPS if version_2 else CGROUPS / "memory"
        limit_name, usage_name = ("memory.max", "memory.current") if version_2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        path = root / name.lstrip("/")
        for group in (path, *path.parents):  # in a container, its own group may be mounted as the root
            numbers = [text for file in (limit_name, usage_name) for text in read_lines(group / file)[:1]]
            if len(numbers) == 2 and all(text.isdecimal() for text in numbers):  # "max": no limit
                cached = [line.split()[1] for line in read_lines(group / "memory.stat") if line.startswith("inactive_file ")]
                yield int(numbers[0]) - int(numbers[1]) + sum(map(int, cached))  # the cache is freed when memory is needed
            if group == root:
                break
    with contextlib.suppress(ImportError, OSError):  # Windows
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = read_lines(Path("/proc/self/statm"))
        if limit != resource.RLIM_INFINITY and pages:
            yield limit - int(pages[0].split()[0]) * resource.getpagesize()


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a file, or none if it cannot be read."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


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
