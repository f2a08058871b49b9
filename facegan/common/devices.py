"""Which processor to compute on, and pictures that come out the same every time."""

import contextlib
from collections.abc import Iterator

import torch


def find_device() -> torch.device:
    """Returns a CUDA GPU where there is one, else Apple's, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@contextlib.contextmanager
def reproducible() -> Iterator[None]:
    """Within this context convolutions on a GPU give the same numbers every time, in full float32.

    Every argument is named: ``cudnn.flags`` switches cuDNN off where ``enabled`` is not said, and TF32 on.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
