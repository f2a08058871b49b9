"""Times the second derivative of a grouped convolution in a penalty: PyTorch's, group by group, and one weight gradient for all groups.

    python benchmarks/gpu_double.py [--device cuda] [--batch 256] [--rounds 3]

The layers are R3GAN's 3×3 convolutions with 16 channels per group, at the widths of the preset ffhq64_r3gan.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from facegan.models.convolution import Conv2d

LAYERS = ((8, 1536), (16, 1536), (32, 1536), (64, 768))  # pixels, channels
GROUP_CHANNELS = 16


def make_penalty(layer: torch.nn.Module, size: int, batch: int, device: torch.device) -> Callable[[], None]:
    """Returns a function that differentiates the gradient norm of a layer with respect to its weight."""
    dtype = torch.bfloat16
    images = torch.randn(batch, layer.in_channels, size, size, device=device, dtype=dtype)
    images = images.to(memory_format=torch.channels_last).requires_grad_()

    def penalize() -> None:
        (slopes,) = torch.autograd.grad(layer(images).float().square().sum(), images, create_graph=True)
        slopes.float().square().sum().backward()
        layer.weight.grad = images.grad = None

    return penalize


def measure(work: Callable[[], None], rounds: int, device: torch.device) -> list[float]:
    """Returns the milliseconds of each round, after one warm-up round."""
    times = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((time.perf_counter() - began) * 1e3)
    return times[1:]


def main(device: torch.device, batch: int, rounds: int) -> None:
    """Measures and prints the table."""
    torch.backends.cudnn.deterministic = True
    print(f"{device}, PyTorch {torch.__version__}, batch {batch}, bfloat16, n = {rounds}, median (smallest to largest) in ms")
    print("| pixels | channels | groups | PyTorch | facegan |\n|---|---|---|---|---|")
    for size, channels in LAYERS:
        groups, cells = channels // GROUP_CHANNELS, []
        for kind in (torch.nn.Conv2d, Conv2d):
            layer = kind(channels, channels, 3, padding=1, groups=groups, bias=False).to(
                device, torch.bfloat16, memory_format=torch.channels_last
            )
            times = measure(make_penalty(layer, size, batch, device), rounds, device)
            cells.append(f"{statistics.median(times):,.1f} ({min(times):,.1f} to {max(times):,.1f})")
        print(f"| {size} | {channels} | {groups} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="device (default: cuda)")
    parser.add_argument("--batch", type=int, default=256, help="batch size (default: 256)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: expected a CUDA GPU; found none that PyTorch can use; try --device cpu --batch 4")
    main(torch.device(chosen.device), chosen.batch, chosen.rounds)
