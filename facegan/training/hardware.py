"""The device and precision that training runs with, and the settings that make PyTorch reproducible there."""

import dataclasses
import os

import torch

from facegan.common.devices import find_device, keep_freed_memory
from facegan.common.errors import FaceganError


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What training runs on.

    Attributes:
        precision: the type of convolutions and matrix products under autocast; weights are always float32.
        allows_graph: whether steps may be captured in CUDA graphs.
    """

    device: torch.device
    precision: torch.dtype
    allows_graph: bool = True

    @property
    def is_capturable(self) -> bool:
        """Whether every changing number stays on the device, as a CUDA graph requires."""
        return self.device.type == "cuda"

    @property
    def uses_graph(self) -> bool:
        """Whether complete steps are captured in CUDA graphs."""
        return self.is_capturable and self.allows_graph


def choose_hardware(device: str, precision: str, cuda_graph: str = "auto") -> Hardware:
    """Returns the hardware to train on, and configures PyTorch for deterministic results.

    Args:
        device: "auto" uses a CUDA GPU if available, else Apple's, else the CPU.
        precision: "auto" is bfloat16 where the chip has bfloat16 arithmetic.
        cuda_graph: "auto", or "off" to run every step eagerly.

    Raises:
        FaceganError: a device that this machine does not have.
    """
    if device == "auto":
        device = find_device().type
    if device == "cuda" and not torch.cuda.is_available():
        raise FaceganError("train.device: expected a CUDA GPU; found none that PyTorch can use; set train.device to auto or cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise FaceganError("train.device: expected an Apple GPU; found none that PyTorch can use; set train.device to auto or cpu")
    if precision == "auto":
        precision = "bf16" if computes_bfloat16(device) else "fp32"
    keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # makes cuBLAS deterministic if set before its first use
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that costs 3% of the time
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # TF32 rounds float32 to ten bits of mantissa
    torch.backends.cuda.matmul.allow_tf32 = False
    return Hardware(torch.device(device), {"bf16": torch.bfloat16, "fp32": torch.float32}[precision], cuda_graph == "auto")


def computes_bfloat16(device: str) -> bool:
    """Returns whether the chip has bfloat16 arithmetic, so that bfloat16 is faster and not only smaller."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
