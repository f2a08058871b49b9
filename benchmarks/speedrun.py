"""The speedrun: measures the training time to a fixed score.

    python benchmarks/speedrun.py avatars32 tutorial                                          # the recipe of the tutorials
    python benchmarks/speedrun.py avatars32 presets/demo.yaml --record docs/speedrun/avatars32_demo.json
    python benchmarks/speedrun.py celeba64 presets/celeba64_dcgan.yaml --photos celeba10k.zip --images 60000
    python benchmarks/speedrun.py celeba64_gpu presets/celeba64_r3gan.yaml --photos celeba.zip

A track defines photos, resolution and score. A recipe is the model and training of a preset, or the tutorials' loop and network: DCGAN as
taught, see benchmarks/train_speed.py. (The CPU seconds of its two data-loading processes are not counted, which favours it.) Each seed
trains for its full budget of images and is scored at --points points, most of them at the start, where scores change fastest. The score is
the Fréchet distance over EfficientNet-Lite0 features of 2,000 generated images and the first 2,000 training images; newer records also
contain the distance in the structure space (fd_pixels16), because the first sees mostly texture. The clock counts CPU seconds of all
threads and wall time. It starts when the networks are created, and is paused while scores are computed.

Prints for each threshold of the track the time until the score was at or below it: median and range over the seeds, or how many seeds
reached it. --record stores every raw value, with commit, parameters and hardware, in a JSON file; seeds in that file are not run again.
--grids saves an image of each seed's final generator, with the first of the scored faces.

A record names the CPU's instruction set and the precision. Results of a CPU without AVX-512 can be measured on a newer one:

    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/speedrun.py avatars64 presets/demo.yaml --precision fp32
"""

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import torch
from PIL import Image
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "benchmarks"))

from train_speed import TAUGHT, Case, TutorialLoop  # noqa: E402 (the paths above must come first)

from facegan.common.config import read_values  # noqa: E402
from facegan.common.errors import FaceganError  # noqa: E402
from facegan.common.files import read_json, write_json  # noqa: E402
from facegan.common.marks import Mark  # noqa: E402
from facegan.common.pictures import make_grid, save_png  # noqa: E402
from facegan.common.shards import open_split, read_index, read_labels  # noqa: E402
from facegan.models.latents import generate_images, seeded_latents  # noqa: E402
from facegan.models.parameters import DCGANParameters  # noqa: E402
from facegan.parameters import Parameters, read_parameters  # noqa: E402
from facegan.photos.sources import download  # noqa: E402
from facegan.preprocessing.preprocess import preprocess  # noqa: E402
from facegan.scoring.quick_score import QuickScore  # noqa: E402
from facegan.training.hardware import Hardware, choose_hardware  # noqa: E402
from facegan.training.history import add_row, is_row_due  # noqa: E402
from facegan.training.trainer import Trainer  # noqa: E402

SCORED = 2_000  # generated images, and the same number of real ones
SCORE_SEED = 0
GRID_FACES, GRID_COLUMNS = 64, 8
TUTORIAL = "tutorial"
TUTORIAL_IMAGES = 60_000
SCORE, STRUCTURE = "fd_efficientnet_lite0", "fd_pixels16"
STRUCTURE_LADDER = (120, 100, 80, 70, 60, 50, 40, 30, 20, 10)


class Track(NamedTuple):
    """A benchmark problem. ``photos``: whether the user must supply them; otherwise they are drawn."""

    resolution: int
    photos: bool
    ladder: tuple[int, ...]
    device: str = "cpu"


TRACKS = {
    "avatars32": Track(32, False, (240, 220, 200, 180, 160, 140, 120, 100, 80, 60)),
    "avatars64": Track(64, False, (240, 220, 200, 180, 160, 140, 120, 100, 80, 60)),
    "avatars64_gpu": Track(64, False, (240, 220, 200, 180, 160, 140, 120, 100, 80, 60), "cuda"),
    "celeba32": Track(32, True, (240, 200, 160, 120, 100, 80, 60, 40, 30)),
    "celeba64": Track(64, True, (240, 200, 160, 140, 120, 100, 80, 60, 40)),
    "celeba64_gpu": Track(64, True, (100, 80, 60, 40, 30, 20, 15), "cuda"),
}


class Run(pydantic.BaseModel):
    """The training of one seed, with all measured values."""

    seed: int
    commit: str
    date: str
    hardware: str
    parameters: dict[str, Any]
    points: list[dict[str, float]]


class Record(pydantic.BaseModel):
    """Content of a --record file."""

    track: str
    recipe: str
    scored: int
    runs: list[Run]


class Clock:
    """Training time in seconds: ``cpu`` of all threads, and ``wall``. Runs only inside its ``with`` blocks."""

    def __init__(self, device: torch.device):
        self.on_gpu = device.type == "cuda"
        self.cpu, self.wall = 0.0, 0.0

    def __enter__(self) -> None:
        self.began = time.process_time(), time.perf_counter()

    def __exit__(self, *error: object) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()
        self.cpu += time.process_time() - self.began[0]
        self.wall += time.perf_counter() - self.began[1]


def make_shards(track: Track, photos: Path | None, folder: Path, recipe: str) -> Path:
    """Returns the shards of the track's photos: the demo's 4,000 avatars with the recipe's labels, or the centres of the user's photos."""
    demo = read_parameters(ROOT / "presets/demo.yaml")
    source: dict[str, Any] = {"source": "folder" if photos.is_dir() else "archive", "path": str(photos.resolve())} if photos else {}
    source["labels"] = None if photos or recipe == TUTORIAL else read_parameters(Path(recipe)).data.labels
    download(demo.data.model_copy(update=source), folder / "raw", ROOT)
    asked = {"resolution": track.resolution, "crop": "square" if photos else "none"}
    preprocess(folder / "raw", demo.preprocess.model_copy(update=asked), folder / "shards", os.cpu_count() or 1)
    return folder / "shards"


def shorten(parameters: Parameters, images: int | None, seed: int) -> Parameters:
    """Returns the parameters for one seed, with another budget of images if given; schedules and growths are then scaled to it."""
    values = parameters.as_plain()
    values["train"]["seed"] = seed
    if images:
        grow_images = values["model"].get("grow_images", [])
        values["model"] |= {"grow_images": [number * images // parameters.train.images for number in grow_images]} if grow_images else {}
        values["train"] |= {"images": images, "schedule_images": values["train"]["schedule_images"] and images}
    return read_values(Parameters, values, "the recipe")


class Ours:
    """A preset's training, as the stage ``train`` runs it."""

    def __init__(self, parameters: Parameters, shards: Path, hardware: Hardware):
        data = read_index(shards), open_split(shards, "train")
        self.trainer = Trainer(*data, parameters.model, parameters.train, hardware, labels=read_labels(shards, "train"))
        self.batch = parameters.train.batch

    def step(self) -> None:
        self.trainer.train_step()
        if is_row_due(self.trainer.images_seen, self.batch):
            add_row(self.trainer)

    def generator(self) -> nn.Module:
        return self.trainer.ema_generator()


class Taught:
    """The tutorials' training."""

    def __init__(self, case: Case, shards: Path, hardware: Hardware):
        torch.manual_seed(case.parameters.seed)
        self.loop = TutorialLoop(case, write_photos(shards), hardware.device)
        self.batch = case.parameters.batch

    def step(self) -> None:
        self.loop.step()

    def generator(self) -> nn.Module:
        return self.loop.generator


def write_photos(shards: Path) -> Path:
    """Writes the training images as files next to the shards, once, and returns the folder for torchvision's ImageFolder."""
    photos = shards.parent / "photos"
    if not photos.exists():
        (photos / "faces").mkdir(parents=True)
        for number, image in enumerate(torch.cat(open_split(shards, "train"))):
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(photos / "faces" / f"{number:06d}.png")
    return photos


def run_seed(
    make: Callable[[], Ours | Taught], images: int, points: int, score: QuickScore, hardware: Hardware
) -> tuple[list[dict[str, float]], nn.Module]:
    """Trains once.

    Returns:
        Images, CPU seconds, wall seconds, score and structure distance at each point, where point k of n is at (k/n)² of the images; and
        the final generator.
    """
    clock, rows, seen = Clock(hardware.device), [], 0
    with clock:
        run = make()
    for point in range(1, points + 1):
        with clock:
            while seen < math.ceil(images * (point / points) ** 2):
                run.step()
                seen += run.batch
        generator = run.generator()
        distances = score.measure_distances(generator)
        rows.append({"images": seen, "cpu_seconds": round(clock.cpu, 2), "wall_seconds": round(clock.wall, 2)})
        rows[-1] |= {"score": distances[SCORE], STRUCTURE: distances[STRUCTURE]}
        print(", ".join(f"{name} {value:,.1f}" for name, value in rows[-1].items()), flush=True)
    return rows, generator


def save_grid(path: Path, generator: nn.Module) -> None:
    """Saves a grid of the first scored faces."""
    generator.eval()
    faces = generate_images(generator, seeded_latents(generator, SCORED, SCORE_SEED)[:GRID_FACES])
    path.parent.mkdir(parents=True, exist_ok=True)
    save_png(path, make_grid(faces, GRID_COLUMNS), Mark(content="grid"))


def seconds_until(rows: list[dict[str, float]], rung: float, clock: str, score: str = "score") -> float | None:
    """Returns the seconds at the first point whose score is at or below the threshold; None if there is none."""
    return next((row[clock] for row in rows if row[score] <= rung), None)


def describe(values: list[float | None]) -> str:
    """Returns the median and the range of seconds, or how many seeds reached the score."""
    reached = [value for value in values if value is not None]
    if len(reached) < len(values):
        return f"{len(reached)} of {len(values)} seeds"
    return f"{statistics.median(reached):,.0f} ({min(reached):,.0f} to {max(reached):,.0f})"


def make_table(track: Track, runs: list[list[dict[str, float]]]) -> str:
    """Returns a table of the seconds until each threshold that any seed reached, and the final score; for each score that all runs have."""
    tables = [make_score_table(track.ladder, runs, SCORE, "score")]
    if all(STRUCTURE in row for run in runs for row in run):  # older records lack it
        tables.append(make_score_table(STRUCTURE_LADDER, runs, STRUCTURE, STRUCTURE))
    return "\n\n".join(tables)


def make_score_table(ladder: tuple[int, ...], runs: list[list[dict[str, float]]], title: str, score: str) -> str:
    """Returns the table of one score."""
    lines = [f"| {title} | CPU seconds | wall seconds |", "|---|---|---|"]
    for rung in ladder:
        clocks = [[seconds_until(run, rung, clock, score) for run in runs] for clock in ("cpu_seconds", "wall_seconds")]
        if any(value is not None for value in clocks[0]):
            lines.append(f"| {rung} | {' | '.join(map(describe, clocks))} |")
    last = [run[-1] for run in runs]
    scores = sorted(row[score] for row in last)
    ends = " | ".join(describe([row[clock] for row in last]) for clock in ("cpu_seconds", "wall_seconds"))
    lines.append(f"| at the end: {statistics.median(scores):.1f} ({scores[0]:.1f} to {scores[-1]:.1f}) | {ends} |")
    return "\n".join(lines)


def name_machine(hardware: Hardware) -> str:
    """Returns the hardware, with the CPU's instruction set, the number of threads, the precision and PyTorch's version in one line."""
    cpu = f"{os.cpu_count()} cores, {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    chip = torch.cuda.get_device_name() if hardware.device.type == "cuda" else cpu
    return f"{chip}, {torch.get_num_threads()} threads, {str(hardware.precision).removeprefix('torch.')}, PyTorch {torch.__version__}"


def find_commit() -> str:
    """Returns the commit, with a plus sign if files differ from it."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def prepare(arguments: argparse.Namespace, shards: Path, seed: int) -> tuple[Callable[[Hardware], Ours | Taught], int, dict[str, Any]]:
    """Returns a function that creates the training of one seed, its number of images, and its parameters for the record."""
    track = TRACKS[arguments.track]
    demo = read_parameters(ROOT / "presets/demo.yaml")
    if arguments.recipe == TUTORIAL:
        model = DCGANParameters(name="dcgan", width=64, latent_size=100, discriminator_norm="batch")
        train = demo.train.model_copy(update=TAUGHT | {"seed": seed})
        images = arguments.images or TUTORIAL_IMAGES
        written = {"model": model.as_plain(), "train": {name: getattr(train, name) for name in TAUGHT}}
        return lambda hardware: Taught(Case(TUTORIAL, track.resolution, model, train), shards, hardware), images, written
    parameters = shorten(read_parameters(Path(arguments.recipe)), arguments.images, seed)
    written = {name: values for name, values in parameters.as_plain().items() if name in ("model", "train")}
    return lambda hardware: Ours(parameters, shards, hardware), parameters.train.images, written


def open_record(path: Path | None, track: str, recipe: str) -> Record:
    """Returns the existing record, or an empty one if there is no file. Raises FaceganError for a file of another track or recipe."""
    if path is None or not path.exists():
        return Record(track=track, recipe=recipe, scored=SCORED, runs=[])
    record = read_json(path, Record, "name another file")
    if (record.track, record.recipe) != (track, recipe):
        raise FaceganError(
            f"expected a record of {track} by {recipe} in {path}; found {record.track} by {record.recipe}; name another file"
        )
    return record


def main(arguments: argparse.Namespace) -> None:
    """Runs the seeds that are missing in the record, and prints the table."""
    track = TRACKS[arguments.track]
    if track.photos and not arguments.photos:
        sys.exit(f"{arguments.track}: expected --photos, a zip file or a folder; found none")
    hardware = choose_hardware(track.device, arguments.precision)
    record = open_record(arguments.record, arguments.track, arguments.recipe)
    commit = find_commit()  # read before the runs, because another commit may be checked out during them
    with tempfile.TemporaryDirectory() as folder:
        shards = make_shards(track, arguments.photos if track.photos else None, Path(folder), arguments.recipe)
        real: Tensor = torch.cat(open_split(shards, "train"))[:SCORED]
        score = QuickScore(real, SCORE_SEED, hardware.device)
        for seed in range(arguments.seeds):
            if any(run.seed == seed for run in record.runs):
                continue
            make, images, parameters = prepare(arguments, shards, seed)
            print(f"{arguments.track}, {arguments.recipe}, seed {seed}: {images:,} images", flush=True)
            points, generator = run_seed(lambda make=make: make(hardware), images, arguments.points, score, hardware)
            about = {"seed": seed, "commit": commit, "date": time.strftime("%Y-%m-%d"), "hardware": name_machine(hardware)}
            record.runs.append(Run(**about, parameters=parameters, points=points))
            if arguments.record:
                arguments.record.parent.mkdir(parents=True, exist_ok=True)
                write_json(arguments.record, record.model_dump())
            if arguments.grids:
                save_grid(arguments.grids / f"{arguments.track}_{Path(arguments.recipe).stem}_{images}_seed{seed}.png", generator)
    last = record.runs[-1]
    print(
        f"\n{record.track}, {record.recipe}, commit {last.commit}, {last.hardware}, n = {len(record.runs)} seeds, "
        f"{SCORED:,} images: median (smallest to largest)\n\n{make_table(track, [run.points for run in record.runs])}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("track", choices=TRACKS, help="photos, resolution and score")
    parser.add_argument("recipe", help=f"a preset file, or {TUTORIAL}")
    parser.add_argument("--photos", type=Path, help="CelebA's photos, a zip file or a folder; half size is sufficient")
    parser.add_argument("--images", type=int, help=f"real images to show (default: the preset's; {TUTORIAL_IMAGES:,} for {TUTORIAL})")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, starting at 0 (default: 3)")
    parser.add_argument("--points", type=int, default=10, help="number of scores during training, most of them at the start (default: 10)")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of the networks (default: auto)")
    parser.add_argument("--record", type=Path, help="JSON file for all values")
    parser.add_argument("--grids", type=Path, help="folder for the faces of each seed")
    try:
        main(parser.parse_args())
    except FaceganError as error:
        sys.exit(f"error: {error}")
