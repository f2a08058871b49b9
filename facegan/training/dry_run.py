"""The dry run: networks, images, steps, estimated time and memory of a training run, without running it.

A few steps and one picture are measured, and multiplied by their number in the run; where a step takes seconds, a smaller batch is measured
and scaled up. So the answer comes within a minute, and writes nothing. docs/measurements/training.md compares its estimates with complete
runs.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from facegan.common.devices import free_memory, measure_peak_memory_mb
from facegan.common.progress import describe_seconds
from facegan.common.shards import Index, Shard, open_split, read_index, read_labels
from facegan.models.parameters import ModelParameters
from facegan.models.registry import count_parameters
from facegan.training.data import SHARE_OF_MEMORY
from facegan.training.hardware import Hardware
from facegan.training.history import add_score
from facegan.training.loop import QUICK_SCORE_IMAGES, OpenQuickScore, take_first
from facegan.training.microbatch import fit
from facegan.training.outcome import draw_picture
from facegan.training.parameters import TrainParameters
from facegan.training.resume import Folders
from facegan.training.trainer import Trainer

PLACEHOLDER_IMAGES = 1024
WARM_UP_STEPS, MEASURED_STEPS = 3, 10
AFFORDABLE_SECONDS = 15  # for all steps of one kind


def dry_run(
    folders: Folders,
    model: ModelParameters,
    parameters: TrainParameters,
    resolution: int,
    hardware: Hardware,
    open_quick_score: OpenQuickScore,
) -> str:
    """Returns a description of what ``train`` with the same arguments would do, how long it would take, and how much memory it would need.

    Everything is measured in one process. Without shards of this resolution, grey images are used instead.

    Args:
        resolution: ``preprocess.resolution``.

    Raises:
        FaceganError: whatever would stop the run at its start.
    """
    start = time.process_time()  # starting Python and importing PyTorch takes about as long as its CPU time
    index, images, has_data = load_images(folders, resolution)
    labels = read_labels(folders.shards, "train") if has_data else []

    def make_trainer(batch: int) -> Trainer:
        trainer = Trainer(
            index, images, model, parameters.model_copy(update={"batch": batch, "microbatch": "auto"}), hardware, labels=labels
        )
        if hardware.device.type == "cuda":
            trainer.set_microbatch(fit(trainer))
        return trainer

    pilot_batch = min(parameters.batch, max(2, parameters.penalty_stride))
    pilot = make_trainer(pilot_batch)
    starts = sorted({0, *(images for images in pilot.grow_images if images < parameters.images)})  # of each size of the images
    pilot.images_seen = find_penalized(pilot, starts[-1])
    pilot_seconds = measure_seconds(pilot.train_step)
    pilot_memory = measure_peak_memory_mb(hardware.device)
    del pilot
    batch = choose_batch(parameters.batch, pilot_batch, pilot_seconds, hardware.device, pilot_memory)
    trainer = make_trainer(batch)
    steps = math.ceil(parameters.images / parameters.batch)
    penalized_steps = math.ceil(steps / parameters.penalty_interval) if parameters.penalty != "none" else 0
    scale, training = parameters.batch / batch, 0.0
    for begin, end in itertools.pairwise([*starts, parameters.images]):
        penalized_step = scale * measure_step(trainer, find_penalized(trainer, begin))
        step = scale * measure_step(trainer, find_penalized(trainer, begin) + batch) if penalized_steps < steps else penalized_step
        training += (end - begin) / parameters.images * ((steps - penalized_steps) * step + penalized_steps * penalized_step)
    peak = measure_peak_memory_mb(hardware.device)
    memory_mb = peak + (peak - pilot_memory) / (batch - pilot_batch) * (parameters.batch - batch) if batch > pilot_batch else peak * scale

    pictures, scores = (
        1 + count_events(steps, parameters.progress_images, parameters),
        count_events(steps, parameters.score_every_images, parameters),
    )
    trainer.control_latents, faces = trainer.control_latents[:4], len(trainer.control_latents)
    picture = faces / 4 * measure_seconds(lambda: draw_picture(trainer))
    score = 0.0
    if scores:
        trainer.quick_score = open_quick_score(take_first(images, QUICK_SCORE_IMAGES), parameters.seed, hardware.device)
        score = measure_seconds(lambda: add_score(trainer))
    seconds = start + training + pictures * picture + scores * score

    device = f", {torch.get_num_threads()} threads" if hardware.device.type == "cpu" else f", {torch.cuda.get_device_name()}"
    epochs = f", of {index.train:,} different ones ({parameters.images / index.train:.1f} epochs)" if has_data else ""
    generator, discriminator = count_parameters(trainer.generator), count_parameters(trainer.discriminator)
    lines = {
        "data": f"{index.train:,} training images"
        if has_data
        else f"no shards of {resolution} px yet (dvc repro preprocess); grey images are used",
        "model": f"{model.name} at {index.resolution} px; generator {generator:,} parameters, discriminator {discriminator:,}",
        "images": f"{parameters.images:,}{epochs}",
        "steps": f"{steps:,} of {parameters.batch} images",
        "device": f"{hardware.device.type}{device}",
        "precision": str(hardware.precision).removeprefix("torch."),
        "step": f"{step * 1000:,.0f} ms ({parameters.batch / step:,.3g} images per second)"
        + (f", with a penalty {penalized_step * 1000:,.0f} ms" if 0 < penalized_steps < steps else "")
        + (f"; estimated from steps of {batch} images" if batch < parameters.batch else ""),
        "other": f"{pictures} pictures of {picture:.1f} s, {scores} quick scores of {score:.1f} s",
        "time": f"about {describe_seconds(seconds)} on this machine under its current load",
        "memory": "unknown on this system" if math.isnan(memory_mb) else f"about {memory_mb:,.0f} MB",
    }
    if len(trainer.pieces) > 1:
        lines["microbatch"] = (
            f"{len(trainer.pieces)} microbatches of at most {trainer.microbatch} images; the full batch does not fit into memory"
        )
    if parameters.processes > 1:
        lines["processes"] = f"{parameters.processes}; time and memory are those of one process with the full batch"
    return "\n".join(f"{name + ':':<11}{text}" for name, text in lines.items()) + "\ndry run: nothing was written"


def load_images(folders: Folders, resolution: int) -> tuple[Index, list[torch.Tensor], bool]:
    """Returns the training data, and True; or a placeholder, and False, if there are no shards of this resolution."""
    if (folders.shards / "index.json").is_file() and (index := read_index(folders.shards)).resolution == resolution and index.train:
        return index, open_split(folders.shards, "train"), True
    images = torch.full((PLACEHOLDER_IMAGES, 3, resolution, resolution), 127, dtype=torch.uint8)
    return describe_placeholder(images), [images], False


def describe_placeholder(images: torch.Tensor) -> Index:
    """Returns the index that shards of these images (N, 3, H, W) would have."""
    shard = Shard(file="train-00000.safetensors", split="train", images=len(images), bytes=images.nbytes, sha256="")
    facts: dict[str, Any] = {"crop": "none", "filter": "lanczos", "source_fingerprint": "", "fingerprint": "", "shards": (shard,)}
    return Index(resolution=images.shape[3], train=len(images), holdout=0, **facts)


def choose_batch(batch: int, pilot_batch: int, pilot_seconds: float, device: torch.device, pilot_memory_mb: float) -> int:
    """Returns the batch to measure: the full one, or as many multiples of the pilot's as are affordable in time and memory."""
    seconds = pilot_seconds * (WARM_UP_STEPS + MEASURED_STEPS)
    memory_mb = pilot_memory_mb if device.type == "cuda" else 0.0  # a GPU's peak is almost only the step's
    affordable = min(AFFORDABLE_SECONDS / seconds, SHARE_OF_MEMORY * free_memory(device) / 1e6 / max(memory_mb, 1.0))
    return min(batch, pilot_batch * max(1, int(affordable)))


def count_events(steps: int, every_images: int | None, parameters: TrainParameters) -> int:
    """Returns how often an event happens that comes every ``every_images`` images, in full steps."""
    return math.ceil(steps / math.ceil(every_images / parameters.batch)) if every_images else 0


def find_penalized(trainer: Trainer, images_seen: int) -> int:
    """Returns the images seen before the first step from there on that has a penalty."""
    spacing = trainer.parameters.batch * trainer.parameters.penalty_interval
    return math.ceil(images_seen / spacing) * spacing


def measure_step(trainer: Trainer, images_seen: int) -> float:
    """Returns the median seconds of the step after ``images_seen`` images; of the last one if steps are too slow."""

    def run_step() -> None:
        trainer.images_seen = images_seen
        trainer.train_step()
        if trainer.hardware.device.type == "cuda":
            torch.cuda.synchronize()

    seconds: list[float] = []
    while len(seconds) < WARM_UP_STEPS + MEASURED_STEPS and sum(seconds) < AFFORDABLE_SECONDS:
        seconds.append(measure_seconds(run_step))
    return statistics.median(seconds[WARM_UP_STEPS:] or seconds[-1:])


def measure_seconds(work: Callable[[], Any]) -> float:
    """Returns how long the work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
