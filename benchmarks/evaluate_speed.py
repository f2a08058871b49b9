"""Compares the time for a Fréchet Inception distance of facegan with that of unmodified pytorch-fid and torch-fidelity from PyPI.

    python benchmarks/evaluate_speed.py data/shards --images 500

All tools score the same two sets of images with the same Inception weights, each in a separate process that is timed from start to end. The
runs alternate. On a machine with other load, CPU seconds (all cores, all processes) are more meaningful than wall time. The other tools
require PNG files; facegan reads the same pixels from memory-mapped tensors, as in the pipeline. Without --weights all tools use the same
randomly initialised network, which affects neither the time nor the comparison.
"""

import argparse
import dataclasses
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.random_inception import save_random_inception  # noqa: E402 (the path above must come first)
from facegan.common.pictures import save_png  # noqa: E402
from facegan.common.shards import read_index  # noqa: E402
from facegan.scoring.distances import fit_gaussian, frechet_distance  # noqa: E402
from facegan.scoring.extractors import BATCH, extract, open_extractor  # noqa: E402
from facegan.scoring.reference import gather  # noqa: E402

HUB_NAME = "pt_inception-2015-12-05-6726825d.pth"  # pytorch-fid looks for this file before it downloads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="a folder of shards with at least twice as many training images")
    parser.add_argument("--images", type=int, default=500, help="images in each of the two sets")
    parser.add_argument("--weights", type=Path, help="a file of Inception weights (default: random weights)")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only-facegan", metavar="EXTRACTOR", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_facegan:
        print("score", score(arguments))
    else:
        compare(arguments)


def read_sets(arguments: argparse.Namespace) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns two sets of images. The second is darkened, so that the distance is larger than sampling noise."""
    images = gather(arguments.shards, "train", torch.arange(2 * arguments.images))
    return images[: arguments.images], (images[arguments.images :] * 0.8).round().to(torch.uint8)


def score(arguments: argparse.Namespace) -> float:
    """Returns facegan's distance between the two sets."""
    extractor = open_extractor(arguments.only_facegan, arguments.weights, arguments.device)
    sets = [fit_gaussian(extract(extractor, images.split(BATCH[extractor.device.type]))) for images in read_sets(arguments)]
    return frechet_distance(*sets)


def compare(arguments: argparse.Namespace) -> None:
    """Runs the tools alternately and prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "hub" / "checkpoints" / HUB_NAME
        if arguments.weights:
            weights.parent.mkdir(parents=True)
            weights.write_bytes(arguments.weights.read_bytes())
        else:
            save_random_inception(weights, seed=0)
        folders = [str(Path(folder) / name) for name in ("first", "second")]
        for name, images in zip(folders, read_sets(arguments), strict=True):
            for number, image in enumerate(images):
                save_png(Path(name) / f"{number:06d}.png", image.permute(1, 2, 0).numpy())
        ours = [sys.executable, __file__, str(arguments.shards), "--images", str(arguments.images), "--weights", str(weights)]
        ours += ["--device", arguments.device, "--only-facegan"]
        on_gpu = arguments.device != "cpu"
        fidelity = [sys.executable, "-m", "torch_fidelity.fidelity", "--fid", "--input1", folders[0], "--input2", folders[1], "--no-cache"]
        fidelity += ["--feature-extractor-weights-path", str(weights), "--gpu" if on_gpu else "--cpu", *(["0"] if on_gpu else [])]
        tools = {
            "pytorch-fid": [sys.executable, "-m", "pytorch_fid", *folders, "--device", arguments.device],
            "facegan, inception_pytorch": [*ours, "inception_pytorch"],
            "torch-fidelity": fidelity,
            "facegan, inception": [*ours, "inception"],
        }
        measured: dict[str, list[Run]] = {tool: [] for tool in tools}
        for _ in range(arguments.repeats):
            for tool, command in tools.items():
                measured[tool].append(measure(command, folder))
    print(
        f"\n{arguments.images} images against {arguments.images} of {read_index(arguments.shards).resolution} px on {arguments.device}, "
        f"{os.cpu_count()} cores, PyTorch {torch.__version__}, {arguments.repeats} runs each"
    )
    print(f"{'tool':28} {'seconds':>15} {'CPU seconds':>15} {'score':>14}")
    for tool, runs in measured.items():
        clock, cpu = ([getattr(run, kind) for run in runs] for kind in ("seconds", "cpu_seconds"))
        print(f"{tool:28} {min(clock):6.1f} … {max(clock):6.1f} {min(cpu):6.1f} … {max(cpu):6.1f} {runs[0].score:14.8g}")
    for rival, own in (("pytorch-fid", "facegan, inception_pytorch"), ("torch-fidelity", "facegan, inception")):
        times = [
            min(getattr(run, kind) for run in measured[rival]) / min(getattr(run, kind) for run in measured[own])
            for kind in ("seconds", "cpu_seconds")
        ]
        difference = abs(measured[own][0].score / measured[rival][0].score - 1)
        print(
            f"against {rival}: {times[0]:.1f} times as fast by wall time, {times[1]:.1f} by CPU time; relative difference {difference:.1e}"
        )


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of one tool."""

    seconds: float
    cpu_seconds: float
    score: float


def measure(command: list[str], hub: str) -> Run:
    """Runs the command and returns its duration and the last number that it printed."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, env={**os.environ, "TORCH_HOME": hub}, capture_output=True, text=True, cwd=ROOT)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    number = re.findall(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", done.stdout)[-1]
    return Run(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, float(number))


if __name__ == "__main__":
    main()
