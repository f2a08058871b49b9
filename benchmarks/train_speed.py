"""Compares the speed of training with the loop of the tutorials and with the limit of the hardware.

    python benchmarks/train_speed.py [--device cuda] [--shards FOLDER] [--rounds 5] [--seconds 6]

Alternating in one run, with the same network and batch:

tutorial   ImageFolder and DataLoader with two workers on JPEG files of CelebA's size (178×218), resized and cropped while
           loading; float32, contiguous; one pass over real and one over generated images, each with its own backward;
           the losses read with .item() in every step.
facegan    the step of facegan: images in memory, flipped there; precision and memory layout as chosen by ``auto``; including
           the moving average and the statistics, which the tutorial does not have; rows of losses.csv as often as in a run.

The limit is the time of the convolutions alone, if each ran at the rate of a large matrix product or, if that is longer, moved its
inputs and outputs at the rate of a large copy. Both rates are measured in the same run. The photos, as files for the tutorial and as
shards for facegan, are created in a temporary folder from the given shards, or drawn.
"""

import argparse
import dataclasses
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.shards import ShardWriter, open_split, read_index  # noqa: E402
from facegan.models.parameters import DCGANParameters  # noqa: E402
from facegan.models.registry import build_discriminator, build_generator  # noqa: E402
from facegan.parameters import read_parameters  # noqa: E402 (the path above must come first)
from facegan.training.data import Batches  # noqa: E402
from facegan.training.hardware import Hardware, choose_hardware  # noqa: E402
from facegan.training.history import add_row, is_row_due  # noqa: E402
from facegan.training.parameters import TrainParameters  # noqa: E402
from facegan.training.trainer import Trainer  # noqa: E402

PHOTOS = 2_000
CELEBA_WIDTH, CELEBA_HEIGHT = 178, 218
TUTORIAL_WORKERS = 2
BURST_STEPS = 4  # between clock readings, because these wait for a GPU
WARM_UP_SECONDS = 1.0  # in which the tutorial's workers fill their queue
MATRIX_SIZES = (1024, 2048, 4096)
COPY_BYTES = 1 << 28
RATE_REPEATS = 7
TAUGHT = {"batch": 64, "lr": 2e-4, "discriminator_lr_ratio": 1.0, "betas": (0.5, 0.999), "flip": False}


@dataclasses.dataclass(frozen=True)
class Case:
    """One row of the table: a network, its resolution, and its training parameters."""

    title: str
    resolution: int
    network: DCGANParameters
    parameters: TrainParameters


class Stopwatch:
    """Measures the total time in its ``with`` blocks: of the device on a GPU, otherwise of the host."""

    def __init__(self, device: torch.device):
        self.on_gpu = device.type == "cuda"
        self.clear()

    def clear(self) -> None:
        self.host_seconds, self.events = 0.0, []

    def __enter__(self) -> None:
        self.began = time.perf_counter()
        if self.on_gpu:
            self.events.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
            self.events[-1][0].record()

    def __exit__(self, *error: object) -> None:
        if self.on_gpu:
            self.events[-1][1].record()
        self.host_seconds += time.perf_counter() - self.began

    def seconds(self) -> float:
        """Returns the longer of the host's and the device's time. Synchronize first."""
        return max(self.host_seconds, sum(start.elapsed_time(end) for start, end in self.events) / 1000)


class TimedBatches(Batches):
    """facegan's batches with a stopwatch."""

    def __init__(self, batches: Batches, watch: Stopwatch):
        self.__dict__ = {**batches.__dict__, "watch": watch}

    def choose(self, images_seen: int, batch: int) -> Tensor:
        with self.watch:
            return super().choose(images_seen, batch)

    def take(self, indices: Tensor) -> Tensor:
        with self.watch:
            return super().take(indices)


def make_trainer(case: Case, shards: Path, hardware: Hardware) -> Trainer:
    """Returns the trainer of a case, as the stage creates it."""
    return Trainer(read_index(shards), open_split(shards, "train"), case.network, case.parameters, hardware)


class OurLoop:
    """The training loop of facegan."""

    def __init__(self, case: Case, shards: Path, hardware: Hardware):
        self.trainer = make_trainer(case, shards, hardware)
        self.watch = Stopwatch(hardware.device)
        self.trainer.batches = TimedBatches(self.trainer.batches, self.watch)

    def step(self) -> None:
        self.trainer.train_step()
        if is_row_due(self.trainer.images_seen, self.trainer.parameters.batch):
            add_row(self.trainer)


class TutorialLoop:
    """The training loop of the tutorials."""

    def __init__(self, case: Case, photos: Path, device: torch.device):
        from torchvision import datasets, transforms

        size, parameters = case.resolution, case.parameters
        steps = [transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
        folder = datasets.ImageFolder(photos, transforms.Compose(steps))
        if len(folder) < parameters.batch:  # with drop_last there would be no batch, and no end
            sys.exit(f"error: {photos}: expected at least {parameters.batch} photos, one batch; found {len(folder)}")
        self.loader = torch.utils.data.DataLoader(
            folder, parameters.batch, shuffle=True, num_workers=TUTORIAL_WORKERS, persistent_workers=True, drop_last=True
        )
        self.batches = self.endless()
        self.device = device
        self.watch = Stopwatch(device)
        self.generator = build_generator(case.network, size).to(device)
        self.discriminator = build_discriminator(case.network, size).to(device)
        lr, betas = parameters.lr, parameters.betas
        self.generator_adam = torch.optim.Adam(self.generator.parameters(), lr=lr, betas=betas)
        self.discriminator_adam = torch.optim.Adam(self.discriminator.parameters(), lr=lr * parameters.discriminator_lr_ratio, betas=betas)
        self.cross_entropy = nn.BCEWithLogitsLoss()
        self.history: list[tuple[float, ...]] = []

    def endless(self) -> Iterator[Tensor]:
        """Yields batches of consecutive epochs without end."""
        while True:
            for images, _ in self.loader:
                yield images

    def step(self) -> None:
        with self.watch:
            real = next(self.batches).to(self.device)
        ones, zeros = torch.ones(len(real), device=self.device), torch.zeros(len(real), device=self.device)

        self.discriminator.zero_grad()
        real_logits = self.discriminator(real)
        real_loss = self.cross_entropy(real_logits, ones)
        real_loss.backward()
        fake = self.generator(torch.randn(len(real), self.generator.latent_size, device=self.device))
        fake_logits = self.discriminator(fake.detach())
        fake_loss = self.cross_entropy(fake_logits, zeros)
        fake_loss.backward()
        self.discriminator_adam.step()

        self.generator.zero_grad()
        logits = self.discriminator(fake)
        loss = self.cross_entropy(logits, ones)
        loss.backward()
        self.generator_adam.step()
        reported = (real_loss + fake_loss, loss, real_logits.sigmoid().mean(), fake_logits.sigmoid().mean(), logits.sigmoid().mean())
        self.history.append(tuple(number.item() for number in reported))


class ConvolutionLog(TorchDispatchMode):
    """Records the floating-point operations of each convolution, and the number of elements of its inputs and outputs."""

    def __init__(self):
        super().__init__()
        self.entries: list[tuple[int, int]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        if operation in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            results = result if isinstance(result, tuple) else (result,)
            numbers = sum(value.numel() for value in (*args, *results) if isinstance(value, Tensor))
            self.entries.append((flop_registry[operation.overloadpacket](*args, **(kwargs or {}), out_val=result), numbers))
        return result


def make_photos(folder: Path, source: Path | None, resolution: int) -> tuple[Path, Path]:
    """Writes the same images as JPEG files of CelebA's size and as shards; returns both folders."""
    if source:
        pictures = torch.cat(open_split(source, "train"))[:PHOTOS]
    else:
        coarse = torch.rand((PHOTOS, 3, 8, 8), generator=torch.Generator().manual_seed(0))
        pictures = nn.functional.interpolate(coarse, size=(resolution, resolution), mode="bicubic").mul(255).clamp(0, 255).to(torch.uint8)
    photos, shards = folder / "photos", folder / "shards"
    (photos / "faces").mkdir(parents=True)
    with ShardWriter(shards, resolution) as writer:
        for number, picture in enumerate(pictures.permute(0, 2, 3, 1).numpy()):
            image = Image.fromarray(picture)
            image.resize((CELEBA_WIDTH, CELEBA_HEIGHT)).save(photos / "faces" / f"{number:06d}.jpg", quality=90)
            writer.add("train", np.asarray(image.resize((resolution, resolution))).transpose(2, 0, 1))
        writer.finish(crop="none", filter="bicubic", source_fingerprint="made for a benchmark")
    return photos, shards


def play_round(loop: Any, seconds: float, device: torch.device) -> tuple[float, float]:
    """Warms up and then trains for the given time; returns the seconds per step and the share of them spent on data."""
    play(loop, WARM_UP_SECONDS, device)
    loop.watch.clear()
    steps, spent = play(loop, seconds, device)
    return spent / steps, loop.watch.seconds() / spent


def play(loop: Any, seconds: float, device: torch.device) -> tuple[int, float]:
    """Trains for the given time, at least one burst of steps; returns the number of steps and their time."""
    synchronize(device)
    began, steps = time.perf_counter(), 0
    while steps == 0 or time.perf_counter() - began < seconds:
        for _ in range(BURST_STEPS):
            loop.step()
        synchronize(device)
        steps += BURST_STEPS
    return steps, time.perf_counter() - began


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def find_convolutions(case: Case, shards: Path) -> list[tuple[int, int]]:
    """Returns (operations, elements moved) of each convolution in one step of facegan."""
    hardware = Hardware(torch.device("cpu"), torch.float32)
    trainer = make_trainer(case, shards, hardware)
    with ConvolutionLog() as log:
        trainer.train_step()
    return log.entries


def measure_rates(hardware: Hardware) -> tuple[float, float]:
    """Returns the operations per second of a large matrix product, and the bytes per second that a large copy reads and writes."""

    def fastest(work: Any) -> float:
        seconds = []
        for _ in range(RATE_REPEATS):
            synchronize(hardware.device)
            began = time.perf_counter()
            work()
            synchronize(hardware.device)
            seconds.append(time.perf_counter() - began)
        return min(seconds)

    rates = []
    for size in MATRIX_SIZES:
        left, right = torch.randn((2, size, size), device=hardware.device).to(hardware.precision)
        rates.append(2 * size**3 / fastest(lambda left=left, right=right: left @ right))
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=hardware.device)
    target = torch.zeros_like(source)
    return max(rates), 2 * COPY_BYTES / fastest(lambda: target.copy_(source))


def make_cases() -> list[Case]:
    """Returns the paper's DCGAN trained as in the tutorials, and a small one with spectral norm at 32 px."""
    stable = read_parameters(ROOT / "presets/celeba64_dcgan.yaml").train
    taught = stable.model_copy(update=TAUGHT)
    return [
        Case("DCGAN-64 as taught", 64, DCGANParameters(width=64, latent_size=100, discriminator_norm="batch"), taught),
        Case(
            "small DCGAN",
            32,
            DCGANParameters(width=48, latent_size=100, discriminator_norm="spectral"),
            stable.model_copy(update={"batch": 32}),
        ),
    ]


def measure_case(case: Case, source: Path | None, hardware: Hardware, rounds: int, seconds: float) -> str:
    """Returns one row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        photos, shards = make_photos(Path(folder), source, case.resolution)
        tutorial, ours = TutorialLoop(case, photos, hardware.device), OurLoop(case, shards, hardware)
        results = [(play_round(tutorial, seconds, hardware.device), play_round(ours, seconds, hardware.device)) for _ in range(rounds)]
        convolutions = find_convolutions(case, shards)
    operations_a_second, bytes_a_second = measure_rates(hardware)
    size = hardware.precision.itemsize
    limit = case.parameters.batch / sum(
        max(operations / operations_a_second, numbers * size / bytes_a_second) for operations, numbers in convolutions
    )
    theirs_a_second, ours_a_second = ([case.parameters.batch / loop[0] for loop in loops] for loops in zip(*results, strict=True))
    ratios = [fast / slow for slow, fast in zip(theirs_a_second, ours_a_second, strict=True)]
    their_wait, our_wait = (statistics.median(loop[1] for loop in loops) for loops in zip(*results, strict=True))
    giga = sum(operations for operations, _ in convolutions) / case.parameters.batch / 1e9
    print(
        f"{case.title}: {giga:.2f} GFLOP of convolutions per image; matrix products {operations_a_second / 1e9:,.0f} GFLOP/s, "
        f"copies {bytes_a_second / 1e9:,.0f} GB/s; limit {limit:,.0f} images/s"
    )
    return (
        f"| {case.title} | {case.parameters.batch} | {describe(theirs_a_second)} | {describe(ours_a_second)} | {describe(ratios, 2)} "
        f"| {their_wait:.2%} | {our_wait:.2%} | {statistics.median(ours_a_second) / limit:.0%} |"
    )


def describe(values: list[float], digits: int = 0) -> str:
    """Returns the median and the range."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def name_machine(hardware: Hardware) -> str:
    """Returns the hardware and the versions in one line."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    device = f"{os.cpu_count()} cores, {platform.machine()}" if hardware.device.type == "cpu" else torch.cuda.get_device_name()
    precision = str(hardware.precision).removeprefix("torch.")
    return f"{device}, facegan in {precision}, PyTorch {torch.__version__}, Python {platform.python_version()}, commit {commit}"


def make_small(case: Case) -> Case:
    """Returns the case with a small network and batch, to try this script."""
    network, parameters = case.network.model_copy(update={"width": 8}), case.parameters.model_copy(update={"batch": 8})
    return dataclasses.replace(case, resolution=32, network=network, parameters=parameters)


def main(device: str, source: Path | None, rounds: int, seconds: float, small: bool = False) -> None:
    """Measures and prints the table."""
    global PHOTOS, MATRIX_SIZES, COPY_BYTES, WARM_UP_SECONDS
    if small:
        PHOTOS, MATRIX_SIZES, COPY_BYTES, WARM_UP_SECONDS = 40, (256,), 1 << 20, 0.0
    hardware = choose_hardware(device, "auto")
    print(f"{name_machine(hardware)}, n = {rounds} rounds of {seconds:g} seconds, median (smallest to largest)", flush=True)
    cases = map(make_small, make_cases()) if small else make_cases()
    rows = [measure_case(case, source, hardware, rounds, seconds) for case in cases]
    print("\n| network | batch | tutorial, images/s | facegan, images/s | ratio | tutorial waits | facegan waits | share of the limit |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="where to train (default: auto)")
    parser.add_argument("--shards", type=Path, help="shards to take the images from (default: drawn images)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--seconds", type=float, default=6, help="seconds per round (default: 6)")
    parser.add_argument("--small", action="store_true", help="small networks and few photos, to try the script")
    chosen = parser.parse_args()
    main(chosen.device, chosen.shards, chosen.rounds, chosen.seconds, chosen.small)
