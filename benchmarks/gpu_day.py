"""Everything to measure on a machine with a GPU, in one command under a time limit.

    python benchmarks/gpu_day.py                                 # 8 minutes; results in gpu_day/
    python benchmarks/gpu_day.py --minutes 30 --photos celeba.zip
    python benchmarks/gpu_day.py --device cpu --seconds 1        # a rehearsal at a small size

Each part is a command in a process of its own. Its output is kept, whatever happens; a part that fails or hangs is reported, and the next
one starts. The most important ones come first, and what no time is left for is listed.

self-test            each preset at full size: does training work, time of a step with and without CUDA graphs, with one and with all GPUs
tests                steps from graphs equal eager ones bit for bit
second derivative    of a grouped convolution: PyTorch's, group by group, and facegan's, for all groups together
microbatches         celeba64_r3gan in microbatches of 64 images
kernels              the slowest kernels of a step of celeba64_r3gan
tutorials' loop      its speed next to facegan's
speedrun             with the remaining time: scores of a few minutes of training, by facegan's recipes and by the tutorials' loop

Output: report.txt, to send with the name of the card; results.json, with all numbers by label; a text file for each part.
"""

import argparse
import contextlib
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.config import read_yaml  # noqa: E402 (the path above must come first)
from facegan.common.files import write_json, write_text  # noqa: E402
from facegan.models.convolution import Conv2d  # noqa: E402
from facegan.parameters import read_parameters  # noqa: E402
from facegan.training.hardware import choose_hardware  # noqa: E402
from facegan.training.self_test import make_trainer  # noqa: E402

PYTHON = sys.executable
PRESETS = ("celeba64_r3gan", "celeba64_dcgan", "celeba64_stylegan2", "my_faces", "ffhq64_r3gan")
LAYERS = ((8, 1536), (16, 1536), (32, 1536), (64, 768))  # pixels and channels of R3GAN's 3×3 convolutions in ffhq64_r3gan
GROUP_CHANNELS = 16
KERNELS = 12  # to list
SMALL = {"preprocess": {"resolution": 32}, "model": {"width": 16}}  # of a rehearsal
LAST_LINES = 4  # of a part's output in the report, if no other lines are worth reading
WORTH_READING = r"\||error|verdict|device|driver|precision|memory|networks|eager|from graphs|rank|.* (passed|failed)|\d+ processes"


class Part(NamedTuple):
    """A command with its time limit in seconds."""

    name: str
    command: list[str]
    limit: float


def list_parts(folder: Path, device: str, seconds: float, photos: Path | None) -> list[Part]:
    """Returns all parts, in order. ``folder``: for parameter files."""
    tests, script = ["tests/training/test_cuda_graph.py", "tests/training/test_microbatch.py"], "benchmarks/gpu_day.py"
    presets = PRESETS if device == "cuda" else PRESETS[1:2]
    self_tests = [
        Part(f"self-test {name}", ["stages/train.py", "--self-test", "--params", write_parameters(folder, name, device)], 100)
        for name in presets
    ]
    pieces = write_parameters(folder, "celeba64_r3gan", device, microbatch=64 if device == "cuda" else 8)
    rounds = ["--rounds", "3" if device == "cuda" else "1", "--seconds", f"{seconds:g}"]
    parts = [
        *self_tests[:1],
        Part("tests", ["-m", "pytest", "-q", *tests, *(["--collect-only"] if device == "cpu" else [])], 120),
        Part("second derivative", [script, "--only", "derivative", "--device", device], 60),
        *self_tests[1:],
        Part("microbatches", ["stages/train.py", "--self-test", "--params", pieces], 100),
        Part("kernels", [script, "--only", "kernels", "--device", device], 60),
        Part("tutorials' loop", ["benchmarks/train_speed.py", "--device", device, *rounds, *([] if device == "cuda" else ["--small"])], 90),
    ]
    if device == "cuda":
        tracks = [("avatars64_gpu", "tutorial", 36_000), ("avatars64_gpu", "presets/demo.yaml", 36_000)]
        tracks += [("celeba64_gpu", "tutorial", 60_000), ("celeba64_gpu", "presets/celeba64_r3gan.yaml", 200_000)] if photos else []
        for track, recipe, images in tracks:
            given = ["--photos", str(photos)] if photos else []
            size = ["--images", str(images), "--seeds", "1", "--points", "2", *given]
            parts.append(Part(f"speedrun {track} {Path(recipe).stem}", ["benchmarks/speedrun.py", track, recipe, *size], 1200))
    return [part._replace(command=[PYTHON, *part.command]) for part in parts]


def write_parameters(folder: Path, preset: str, device: str, **train: Any) -> str:
    """Writes a preset's parameters for the device, small ones for a CPU; returns the path."""
    values = read_yaml(ROOT / "presets" / f"{preset}.yaml")
    values["train"] |= {"device": device, **train}
    for section, changes in (SMALL if device == "cpu" else {}).items():
        values[section] |= changes
    path = folder / "".join([preset, *(f"-{name}{value}" for name, value in train.items()), ".yaml"])
    write_text(path, yaml.safe_dump(values, sort_keys=False))
    return str(path)


def run_parts(parts: list[Part], folder: Path, seconds: float) -> list[dict[str, Any]]:
    """Runs the parts one after another for at most this time in all. Writes and returns the results so far after each of them."""
    deadline, results = time.monotonic() + seconds, []
    for number, part in enumerate(parts, 1):
        limit = min(part.limit, deadline - time.monotonic())
        result: dict[str, Any] = {"part": part.name, "command": shlex.join(part.command), "result": "not run: no time left"}
        if limit > 0:
            print(f"{part.name} …", flush=True)
            path, began = folder / f"{number:02d}-{re.sub('[^a-z0-9_]+', '-', part.name)}.txt", time.monotonic()
            ended = run_part(part, path, limit)
            text = path.read_text(errors="replace")
            found = {"output": path.name, "numbers": read_numbers(text), "last_lines": text.strip().splitlines()[-LAST_LINES:]}
            result |= {"result": ended, "seconds": round(time.monotonic() - began, 1), **found}
        results.append(result)
        write_json(folder / "results.json", {"machine": describe_machine(), "parts": results})
        write_text(folder / "report.txt", write_report(results, folder))
    return results


def run_part(part: Part, output: Path, limit: float) -> str:
    """Runs a command with all its processes, which end with it. Returns how it ended, in words."""
    with output.open("wb") as file:
        process = subprocess.Popen(part.command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"stopped: it did not end within {limit:.3g} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if status < 0:
        return f"failed: ended by signal {-status}"
    return f"failed: exit status {status}" if status else "ended"


def read_numbers(text: str) -> dict[str, list[float]]:
    """Returns the numbers in each line of the form "label: …" or "| label | …", by label."""
    result = {}
    for line in text.splitlines():
        label, _, rest = line.strip("| ").partition("|" if line.startswith("|") else ":")
        numbers = [float(number.replace(",", "")) for number in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", rest)]
        if numbers:
            result[label.strip()] = numbers
    return result


def describe_machine() -> dict[str, str]:
    """Returns the commit and versions."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {"commit": commit, "date": time.strftime("%Y-%m-%d %H:%M"), "PyTorch": torch.__version__, "GPUs": ", ".join(gpus) or "none"}


def write_report(results: list[dict[str, Any]], folder: Path) -> str:
    """Returns a page of text: the machine, how each part ended, and the lines with the results."""
    lines = [f"{name}: {value}" for name, value in describe_machine().items()] + [""]
    for result in results:
        verdicts = []
        if "output" in result:
            text = (folder / result["output"]).read_text(errors="replace")
            verdicts = [line for line in text.splitlines() if re.match(WORTH_READING, line)] or result["last_lines"]
        lines += [f"{result['part']}: {result['result']}" + (f", {result['seconds']} s" if "seconds" in result else "")]
        lines += [f"    {line}" for line in verdicts]
    return "\n".join(lines) + "\n"


def measure_derivative(device: torch.device) -> None:
    """Prints a table: the time of the second derivative of a grouped convolution in a penalty, PyTorch's and facegan's."""
    batch, rounds, layers = (256, 3, LAYERS) if device.type == "cuda" else (1, 1, LAYERS[:1])
    torch.backends.cudnn.deterministic = True
    print(f"batch {batch}, bfloat16, n = {rounds}, median (smallest to largest) in ms")
    print("| pixels | channels | groups | PyTorch | facegan |\n|---|---|---|---|---|")
    for size, channels in layers:
        groups, cells = channels // GROUP_CHANNELS, []
        for kind in (torch.nn.Conv2d, Conv2d):
            layer = kind(channels, channels, 3, padding=1, groups=groups, bias=False)
            layer = layer.to(device, torch.bfloat16, memory_format=torch.channels_last)
            times = measure(make_penalty(layer, size, batch, device), rounds, device)
            cells.append(f"{statistics.median(times):,.1f} ({min(times):,.1f} to {max(times):,.1f})")
        print(f"| {size} px | {channels} | {groups} | {' | '.join(cells)} |", flush=True)


def make_penalty(layer: torch.nn.Module, size: int, batch: int, device: torch.device) -> Callable[[], None]:
    """Returns a function that differentiates the gradient norm of a layer with respect to its weight."""
    images = torch.randn(batch, layer.in_channels, size, size, device=device, dtype=torch.bfloat16)
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


def list_kernels(device: torch.device) -> None:
    """Prints the slowest kernels of a step of celeba64_r3gan."""
    parameters = read_parameters(ROOT / "presets/celeba64_r3gan.yaml")
    model, resolution = parameters.model, parameters.preprocess.resolution
    if device.type == "cpu":
        model, resolution = model.model_copy(update=SMALL["model"]), SMALL["preprocess"]["resolution"]
    hardware = choose_hardware(device.type, "auto", "off")
    trainer = make_trainer(model, parameters.train, resolution, hardware)
    trainer.train_step()
    activities = [torch.profiler.ProfilerActivity.CUDA if device.type == "cuda" else torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities) as trace:
        trainer.train_step()
        if device.type == "cuda":
            torch.cuda.synchronize()
    order = f"{device.type}_time_total"
    print(trace.key_averages().table(sort_by=order, row_limit=KERNELS, max_name_column_width=60))


def main(arguments: list[str] | None = None) -> None:
    """Runs all parts, or one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="where to train (default: cuda)")
    parser.add_argument("--minutes", type=float, default=8, help="time for all parts (default: 8)")
    parser.add_argument("--seconds", type=float, default=3, help="seconds per round, where a part has rounds (default: 3)")
    parser.add_argument("--photos", type=Path, help="CelebA's photos, for two more speedruns")
    parser.add_argument("--out", type=Path, default=Path("gpu_day"), help="output folder (default: gpu_day)")
    parser.add_argument("--only", choices=["derivative", "kernels"], help="run this part in this process")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: expected a CUDA GPU; found none that PyTorch can use; try --device cpu")
    if chosen.only:
        {"derivative": measure_derivative, "kernels": list_kernels}[chosen.only](torch.device(chosen.device))
        return
    out = chosen.out.resolve()
    results = run_parts(list_parts(out, chosen.device, chosen.seconds, chosen.photos), out, chosen.minutes * 60)
    print((out / "report.txt").read_text())
    sys.exit(0 if all(result["result"] == "ended" for result in results) else 1)


if __name__ == "__main__":
    main()
