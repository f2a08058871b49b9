"""Measures a preset's training step at full size on random images: time, images/s, memory, the slowest kernels.

python benchmarks/gpu_step.py PRESET [--device cuda] [--eager] [--microbatch N] [--seconds 10] [--rounds 3] [--width N]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.config import read_values, read_yaml  # noqa: E402 (the path above must come first)
from facegan.common.devices import measure_peak_memory_mb  # noqa: E402
from facegan.parameters import Parameters  # noqa: E402
from facegan.training.dry_run import describe_placeholder  # noqa: E402
from facegan.training.hardware import choose_hardware  # noqa: E402
from facegan.training.trainer import Trainer  # noqa: E402

BURST_STEPS = 16  # between clock readings, which wait for the GPU
BATCHES = 64  # of random images
SLOWEST = 8  # kernels to show


def make_trainer(name: str, device: str, eager: bool, microbatch: int | None, width: int | None) -> Trainer:
    """Returns the preset's trainer on random images."""
    values = read_yaml(ROOT / "presets" / f"{name}.yaml")
    values["model"]["width"] = width or values["model"]["width"]
    values["train"] |= {"score_every_images": None, "microbatch": microbatch or "auto", "start_from": None}
    parameters = read_values(Parameters, values, name)
    hardware = choose_hardware(device, parameters.train.precision, "off" if eager else "auto")
    resolution = parameters.preprocess.resolution
    images = torch.randint(256, (BATCHES * parameters.train.batch, 3, resolution, resolution), dtype=torch.uint8)
    return Trainer(describe_placeholder(images), [images], parameters.model, parameters.train, hardware)


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def run_steps(trainer: Trainer, seconds: float) -> float:
    """Trains for the given time and returns the seconds per step, including penalties at their interval."""
    period = BURST_STEPS * trainer.game.penalty_interval if trainer.hardware.device.type == "cuda" else 1
    start, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - start < seconds:
        for _ in range(period):
            trainer.train_step()
        synchronize(trainer.hardware.device)
        steps += period
    return (time.perf_counter() - start) / steps


def main(arguments: argparse.Namespace) -> None:
    """Measures and prints the results."""
    trainer = make_trainer(arguments.preset, arguments.device, arguments.eager, arguments.microbatch, arguments.width)
    batch, device = trainer.parameters.batch, trainer.hardware.device
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}, PyTorch {torch.__version__}, {arguments.preset}, batch {batch} in {len(trainer.pieces)} pieces", flush=True)
    start = time.perf_counter()
    run_steps(trainer, 0)
    print(f"first steps, including captures: {time.perf_counter() - start:.1f} s", flush=True)
    times = [run_steps(trainer, arguments.seconds) for _ in range(arguments.rounds)]
    rates = [batch / each for each in times]
    graph = "from CUDA graphs" if trainer.graphs and not trainer.graphs.has_failed else "eagerly"
    print(
        f"{statistics.median(times) * 1e3:.2f} ms per step {graph}, "
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) images/s, "
        f"n = {arguments.rounds}, {measure_peak_memory_mb(device) / 1024:.1f} GiB",
        flush=True,
    )
    activity = torch.profiler.ProfilerActivity.CUDA if device.type == "cuda" else torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[activity]) as trace:
        trainer.images_seen = 0  # a step with a penalty, if the preset has one
        trainer.train_step()
        synchronize(device)
    order = "cuda_time_total" if device.type == "cuda" else "cpu_time_total"
    print(trace.key_averages().table(sort_by=order, row_limit=SLOWEST, max_name_column_width=60))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="one of presets/*.yaml")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where to train (default: cuda)")
    parser.add_argument("--eager", action="store_true", help="without CUDA graphs")
    parser.add_argument("--microbatch", type=int, help="images per microbatch (default: as many as fit)")
    parser.add_argument("--width", type=int, help="model.width (default: the preset's)")
    parser.add_argument("--seconds", type=float, default=10, help="seconds per round (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: expected a CUDA GPU; found none that PyTorch can use; use --device cpu, or benchmarks/step_counts.py")
    main(chosen)
