"""What a training run would be, before it is one: networks, images, steps, time and memory.

In: the same as for ``train``. Out: a text. The time is that of a few real steps, of one picture and of one checkpoint on
the disk that the run would use, times how many there will be; of fewer images and faces where these take seconds, so that the answer
comes within a minute. Nothing is left on the disk.
"""

import dataclasses
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from facegan.common.pictures import save_png
from facegan.common.shards import Index, Shard, open_split, read_index
from facegan.models.checkpoint_file import write_checkpoint
from facegan.models.parameters import ModelParameters
from facegan.models.registry import count_parameters
from facegan.training.batches import SHARE_OF_MEMORY, free_memory
from facegan.training.cuda_graph import WARM_UP_STEPS
from facegan.training.distributed import World
from facegan.training.engine import Hardware
from facegan.training.history import measure_peak_memory_mb
from facegan.training.loop import CHECKPOINT_SECONDS, CHECKPOINT_SHARE, Folders
from facegan.training.parameters import TrainParameters
from facegan.training.run import OpenQuickScore, Training

STAND_IN_IMAGES = 1024
PILOT_BATCHES = (1, 2, 4)
PILOT_SECONDS = 10  # a pilot that took longer is the last step that is played
LONGEST_SECONDS = 15  # that a kind of step may be measured for
MEASURED_STEPS = 20
MEASURED_SECONDS = 8  # enough of slow steps, if there are FEWEST_STEPS of them
FEWEST_STEPS = 5


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds that one of each takes, measured."""

    start: float
    step: float
    penalized_step: float
    picture: float
    checkpoint: float
    score: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """How many of each a whole run has."""

    steps: int
    penalized_steps: int
    pictures: int
    scores: int


def dry_run(
    folders: Folders,
    model: ModelParameters,
    parameters: TrainParameters,
    resolution: int,
    hardware: Hardware,
    open_quick_score: OpenQuickScore,
) -> str:
    """Returns what ``train`` with the same arguments would do, how long it would take, and how much memory it would hold.

    It is measured in one process with the whole batch, also where several would share it. Where there are no shards yet, grey
    pictures stand in for them.

    Args:
        resolution: of the pictures that are not there yet.

    Raises:
        FaceganError: whatever would stop the run at its start.
    """
    seconds_before = time.process_time()  # nearly all of the start of Python and PyTorch is work, so this is its length
    began = time.perf_counter()
    has_data = (folders.shards / "index.json").is_file()
    if has_data:
        index, images = read_index(folders.shards), open_split(folders.shards, "train")
    else:
        images = [torch.full((STAND_IN_IMAGES, 3, resolution, resolution), 127, dtype=torch.uint8)]
        index = describe_stand_in(images[0])

    def make_training(batch: int) -> Training:
        return Training(index, images, model, parameters.model_copy(update={"batch": batch}), hardware, World(), open_quick_score)

    seconds, memory = [], []  # of a step of each pilot; in MB, the peak before the first and after each
    warnings.filterwarnings("ignore", r"std\(\)", UserWarning)  # one image has no spread; it is measured for time and memory alone
    for batch in PILOT_BATCHES:
        training = make_training(batch)
        memory = memory or [measure_peak_memory_mb(hardware.device)]
        seconds.append(measure_seconds(training.step))
        memory.append(measure_peak_memory_mb(hardware.device))
        if seconds[-1] > PILOT_SECONDS:
            break
    start = seconds_before + time.perf_counter() - began - sum(seconds)
    fewer, measured_batch = [0, *PILOT_BATCHES][len(seconds) - 1 : len(seconds) + 1]
    seconds_an_image, played = seconds[-1] / measured_batch, seconds[-1:]
    memory_an_image = (memory[-1] - memory[-2]) / (measured_batch - fewer)
    memory_an_image = 0.0 if math.isnan(memory_an_image) else memory_an_image  # where the system does not tell
    if seconds[-1] <= PILOT_SECONDS:
        measured_batch = choose_batch(parameters.batch, seconds_an_image, memory_an_image * 1e6, hardware.device, parameters.penalty_stride)
        training, played = make_training(measured_batch), []
    costs = measure_costs(training, folders.checkpoints, start, seconds_an_image, played)
    scale = parameters.batch / measured_batch
    costs = dataclasses.replace(costs, step=costs.step * scale, penalized_step=costs.penalized_step * scale)
    memory_mb = measure_peak_memory_mb(hardware.device) + memory_an_image * (parameters.batch - measured_batch)
    plan = count_work(parameters)
    predicted = predict_seconds(costs, plan, CHECKPOINT_SECONDS)
    return describe(training, parameters, costs, plan, predicted, memory_mb, has_data)


def choose_batch(batch: int, seconds_an_image: float, bytes_an_image: float, device: torch.device, fewest: int = 1) -> int:
    """Returns the batch to measure with: the whole one, or as many images as can be afforded in time and memory.

    Args:
        fewest: that it takes for a step with its usual share of penalties.
    """
    steps = WARM_UP_STEPS + FEWEST_STEPS
    affordable = min(LONGEST_SECONDS / steps / seconds_an_image, SHARE_OF_MEMORY * free_memory(device) / max(bytes_an_image, 1))
    return batch if affordable >= batch else min(batch, max(fewest, 2 ** int(math.log2(max(1.0, affordable)))))


def describe_stand_in(images: torch.Tensor) -> Index:
    """Returns the index that these pictures (N, 3, H, W) would have."""
    shard = Shard(file="train-00000.safetensors", split="train", images=len(images), bytes=images.nbytes, sha256="")
    about = {"crop": "none", "filter": "lanczos", "source_fingerprint": "", "fingerprint": ""}
    return Index(resolution=images.shape[-1], train=len(images), holdout=0, shards=(shard,), **about)


def count_work(parameters: TrainParameters) -> Plan:
    """Returns how many steps, steps with a penalty, pictures and quick scores the run has."""
    steps = math.ceil(parameters.images / parameters.batch)
    penalized = math.ceil(steps / parameters.penalty_interval) if parameters.penalty != "none" else 0

    def count(every_images: int | None) -> int:
        return math.ceil(steps / math.ceil(every_images / parameters.batch)) if every_images else 0

    return Plan(steps, penalized, pictures=1 + count(parameters.progress_images), scores=count(parameters.score_every_images))


def measure_costs(training: Training, checkpoints: Path, start: float, seconds_an_image: float, played: list[float]) -> Costs:
    """Plays a few steps of each kind, draws a picture and writes a checkpoint beside where the run would, and removes both.

    Args:
        seconds_an_image: of a step, which is more than drawing a face takes.
        played: the seconds of steps that were played from the beginning already.
    """
    batch, has_penalty = training.parameters.batch, training.parameters.penalty != "none"
    penalized_step = measure_steps(training, 0, played) if has_penalty else 0.0
    has_plain = not has_penalty or training.parameters.penalty_interval > 1
    step = measure_steps(training, batch, [] if has_penalty else played) if has_plain else penalized_step
    home = next(folder for folder in (checkpoints, *checkpoints.resolve().parents) if folder.is_dir())
    faces = len(training.control_latents)
    training.control_latents = training.control_latents[: max(1, int(MEASURED_SECONDS / seconds_an_image))]
    scale = faces / len(training.control_latents)
    with tempfile.TemporaryDirectory(dir=home, prefix="dry-run-") as folder:
        picture = scale * measure_seconds(lambda: save_png(Path(folder) / "picture.png", training.draw_picture()))
        checkpoint = measure_seconds(lambda: training.is_finite() and write_checkpoint(Path(folder) / "state.ckpt", training.state()))
    score = measure_seconds(training.add_score) if training.quick_score else 0.0
    return Costs(start, step, penalized_step, picture, checkpoint, score)


def measure_steps(training: Training, images_seen: int, played: list[float]) -> float:
    """Returns the median seconds of a step of the kind that comes after so many images; of the last one alone where steps are very slow."""

    def play() -> None:
        training.images_seen = images_seen
        training.step()
        if training.hardware.device.type == "cuda":
            torch.cuda.synchronize()

    seconds = list(played)
    fewest, most = WARM_UP_STEPS + FEWEST_STEPS, WARM_UP_STEPS + MEASURED_STEPS
    while len(seconds) < most and sum(seconds) < (LONGEST_SECONDS if len(seconds) < fewest else MEASURED_SECONDS):
        seconds.append(measure_seconds(play))
    return statistics.median(seconds[WARM_UP_STEPS:] or seconds[-1:])


def measure_seconds(work: Callable[[], Any]) -> float:
    """Returns how long the work takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def predict_seconds(costs: Costs, plan: Plan, checkpoint_seconds: float) -> float:
    """Returns how long the run will take from its command to its end.

    A checkpoint follows every picture, and one more whenever ``checkpoint_seconds`` have gone by without, or a hundred times
    what it costs where that is longer.
    """
    steps = (plan.steps - plan.penalized_steps) * costs.step + plan.penalized_steps * costs.penalized_step
    pictures = plan.pictures * (costs.picture + costs.checkpoint)
    spacing = max(checkpoint_seconds, costs.checkpoint / CHECKPOINT_SHARE)
    timed_checkpoints = (plan.pictures - 1) * math.floor(steps / (plan.pictures - 1) / spacing) * costs.checkpoint
    return costs.start + steps + pictures + timed_checkpoints + plan.scores * costs.score


def describe(
    training: Training, parameters: TrainParameters, costs: Costs, plan: Plan, seconds: float, memory_mb: float, has_data: bool
) -> str:
    """Returns all of it in a few lines."""
    hardware, networks = training.hardware, training.networks
    count, resolution = training.index.train, training.index.resolution
    generator, discriminator = count_parameters(networks.generator), count_parameters(networks.discriminator)
    threads = f", {torch.get_num_threads()} threads" if hardware.device.type == "cpu" else f", {torch.cuda.get_device_name()}"
    precision = str(hardware.precision).removeprefix("torch.")
    step = f"{costs.step * 1000:,.0f} ms ({parameters.batch / costs.step:,.3g} images a second)"
    if plan.penalized_steps and parameters.penalty_interval > 1:
        step += f", with a penalty {costs.penalized_step * 1000:,.0f} ms"
    if training.parameters.batch < parameters.batch:
        step += f"; reckoned from steps of {training.parameters.batch} image{'s' * (training.parameters.batch > 1)}"
    besides = f"{plan.pictures} pictures of {costs.picture:.1f} s, checkpoints of {costs.checkpoint:.1f} s, start {costs.start:.1f} s"
    if plan.scores:
        besides += f", {plan.scores} quick scores of {costs.score:.1f} s"
    lines = {
        "data": f"{count:,} training images" if has_data else "not there yet (dvc repro preprocess makes them): grey pictures stand in",
        "model": f"{training.model.name} at {resolution} px; generator {generator:,} parameters, discriminator {discriminator:,}",
        "images": f"{parameters.images:,}"
        + (f", of {count:,} different ones ({parameters.images / count:.1f} epochs)" if has_data else ""),
        "steps": f"{plan.steps:,} of {parameters.batch} images",
        "device": f"{hardware.device.type}{threads}",
        "precision": precision,
        "a step": step,
        "besides": besides,
        "time": f"{describe_seconds(seconds)} on this machine as busy as it is now",
        "memory": "unknown on this system" if math.isnan(memory_mb) else f"{memory_mb:,.0f} MB at most",
    }
    if len(training.engine.pieces) > 1:
        lines["microbatch"] = (
            f"{len(training.engine.pieces)} pieces of at most {training.engine.microbatch} images, since all do not fit at once"
        )
    if parameters.processes > 1:
        lines["processes"] = f"{parameters.processes}; time and memory are those of one process with the whole batch"
    return "\n".join(f"{name + ':':<11}{text}" for name, text in lines.items()) + "\na dry run: nothing was written"


def describe_seconds(seconds: float) -> str:
    """Returns a time in its two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
