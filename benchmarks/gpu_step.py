"""Measures a preset's training step on a CUDA GPU, at full size and on random images: time, images/s, memory, the slowest kernels.

python benchmarks/gpu_step.py PRESET [--eager] [--microbatch N] [--seconds 10] [--rounds 3]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.config import read_values  # noqa: E402 (the path above must come first)
from facegan.parameters import Parameters  # noqa: E402
from facegan.training.distributed import World  # noqa: E402
from facegan.training.dry_run import describe_stand_in  # noqa: E402
from facegan.training.engine import choose_hardware  # noqa: E402
from facegan.training.run import Training  # noqa: E402

BURST_STEPS = 16  # between clock readings, because these wait for the GPU
BATCHES = 64  # of random images
SLOWEST = 8  # kernels to show


def make_training(name: str, eager: bool, microbatch: int | None) -> Training:
    """Returns the preset's training on random images."""
    parameters = read_values(Parameters, yaml.safe_load((ROOT / "presets" / f"{name}.yaml").read_text()), name)
    changes = {"score_every_images": None, "microbatch": microbatch or "auto"}
    train, resolution = parameters.train.model_copy(update=changes), parameters.preprocess.resolution
    hardware = choose_hardware("cuda", train.precision, "off" if eager else "auto")
    images = torch.randint(256, (BATCHES * train.batch, 3, resolution, resolution), dtype=torch.uint8)
    return Training(describe_stand_in(resolution), [images], parameters.model, train, hardware, World(), lambda *arguments: None)


def play(training: Training, seconds: float) -> float:
    """Trains for the given time and returns the seconds per step, including penalties at their interval."""
    period = BURST_STEPS * training.game.penalty_interval
    began, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - began < seconds:
        for _ in range(period):
            training.step()
        torch.cuda.synchronize()
        steps += period
    return (time.perf_counter() - began) / steps


def main(name: str, eager: bool, microbatch: int | None, seconds: float, rounds: int) -> None:
    """Measures and prints the results."""
    training = make_training(name, eager, microbatch)
    batch = training.parameters.batch
    print(
        f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, {name}, batch {batch} in {len(training.engine.pieces)} pieces",
        flush=True,
    )
    began = time.perf_counter()
    play(training, 0)
    print(f"first steps, including captures: {time.perf_counter() - began:.1f} s", flush=True)
    times = [play(training, seconds) for _ in range(rounds)]
    rates = [batch / each for each in times]
    graph = "from CUDA graphs" if training.engine.graphs and not training.engine.graphs.has_failed else "eagerly"
    print(
        f"{statistics.median(times) * 1e3:.2f} ms per step {graph}, "
        f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f}) images/s, "
        f"n = {rounds}, {torch.cuda.max_memory_reserved() / 2**30:.1f} GiB",
        flush=True,
    )
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        training.images_seen = 0  # a step with a penalty, if the preset has one
        training.step()
        torch.cuda.synchronize()
    print(trace.key_averages().table(sort_by="cuda_time_total", row_limit=SLOWEST, max_name_column_width=60))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", help="one of presets/*.yaml")
    parser.add_argument("--eager", action="store_true", help="without CUDA graphs")
    parser.add_argument("--microbatch", type=int, help="images per microbatch (default: as many as fit)")
    parser.add_argument("--seconds", type=float, default=10, help="seconds per round (default: 10)")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds (default: 3)")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: expected a CUDA GPU; found none that PyTorch can use; benchmarks/step_counts.py works without one")
    main(chosen.preset, chosen.eager, chosen.microbatch, chosen.seconds, chosen.rounds)
