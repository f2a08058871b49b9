"""Compares the speed of the preprocess stage with the capacity of the cores, and measures its memory.

    python benchmarks/preprocess_speed.py [--images 10000 100000] [--repeats 3]
    python benchmarks/preprocess_speed.py --faces [--repeats 3]
    python benchmarks/preprocess_speed.py --images 20000 --kills 10

Draws archives of distinct 178×218 JPEGs, about 10 KB each, in a temporary folder (1.1 GB by default). With `--faces` it draws photos of
heads, of 225×275 and of 12 megapixels, for `crop: face` to find and align. Then it measures in turn: one process that only decodes,
crops and resizes images in memory; one such process per core in parallel; and the complete stage as a command on all cores, from start
to exit, while the proportional memory (PSS) of all its processes is read once per second. The first ratio is the speed of the stage over
(cores × the speed of one process), the second over the speed of the parallel processes: cores share memory and caches, so the parallel
processes do not reach the first. On a busy machine, use the CPU time of the single process. Both reference speeds are means of
measurements before and after the stage, because the speed of a machine varies over minutes.

With `--kills` it kills the stage at random instants instead, and prints how many results are kept after each; then whether the finished
run has the bytes of an uninterrupted one, and how long it takes to add 50 photos.
"""

import argparse
import contextlib
import io
import itertools
import multiprocessing
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import psutil
import yaml
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import drawn_faces  # noqa: E402 (the paths above must come first)

from facegan.common.config import read_yaml  # noqa: E402 (the path above must come first)
from facegan.common.files import hash_file  # noqa: E402
from facegan.photos.manifest import Manifest, write_manifest  # noqa: E402
from facegan.preprocessing.parameters import PreprocessParameters  # noqa: E402
from facegan.preprocessing.preprocess import read_photo  # noqa: E402
from facegan.preprocessing.results import HASH_BYTES  # noqa: E402

WIDTH, HEIGHT = 178, 218
FACES = {"template": "ffhq", "margin": 0.0, "faces": "largest", "min_face_pixels": 64, "min_eye_distances": 3.0}
SETTINGS = {
    "resolution": 64,
    "crop": [0, 20, 178, 198],
    **FACES,
    "filter": "lanczos",
    "near_duplicates": "ignore",
    "holdout": 0.1,
    "max_bad": 0.0,
    "max_bad_photos": 0,
}
PORTRAITS = {(225, 275): 600, (4032, 3024): 60}  # width and height, and how many
DISTINCT_PORTRAITS = 12  # then repeated, each with different bytes appended
SINGLE_IMAGES = 5_000
ADDED = 50  # photos, with --kills
SECONDS_BETWEEN_READINGS = 1.0  # a reading takes 6 ms of one core


def draw_photo(seed: int) -> bytes:
    """Returns a JPEG of about 10 KB: a colour gradient, an ellipse in front of it, and noise."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    corners = random.uniform(0, 255, (4, 3)).astype(np.float32)
    down, across = (rows / HEIGHT)[..., None], (columns / WIDTH)[..., None]
    shades = (1 - down) * ((1 - across) * corners[0] + across * corners[1]) + down * ((1 - across) * corners[2] + across * corners[3])
    middle, radii = random.uniform(60, 130, 2), random.uniform(30, 80, 2)
    face = ((rows - middle[0]) / radii[0]) ** 2 + ((columns - middle[1]) / radii[1]) ** 2 < 1
    shades[face] = random.uniform(0, 255, 3)
    shades += random.normal(0, 9, (HEIGHT, WIDTH, 1))  # (H, W, 3)
    file = io.BytesIO()
    Image.fromarray(shades.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=80)
    return file.getvalue()


def draw_portrait(size: tuple[int, int], seed: int) -> bytes:
    """Returns a JPEG of a head of the size in a portrait, with camera noise."""
    width, height = size
    shrink = max(1, width // 800)
    random = np.random.default_rng(seed)
    middle = complex(random.uniform(0.45, 0.55) * width, random.uniform(0.4, 0.45) * height) / shrink
    head = (middle, 0.2 * min(size) / shrink, random.uniform(-15, 15))
    image, _ = drawn_faces.draw_photo((width // shrink, height // shrink), [head], seed)
    pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32) + random.normal(0, 6, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def make_archive(raw: Path, images: int, size: tuple[int, int] | None) -> None:
    """Writes an archive with its manifest to the new folder ``raw``. The photos are portraits if a size is given."""
    raw.mkdir()
    path = raw / "photos.zip"
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool, zipfile.ZipFile(path, "w") as archive:
        if size is None:
            photos = pool.map(draw_photo, range(images), chunksize=64)
        else:
            distinct = list(pool.map(draw_portrait, [size] * DISTINCT_PORTRAITS, range(DISTINCT_PORTRAITS)))
            photos = (distinct[number % DISTINCT_PORTRAITS] + number.to_bytes(4, "big") for number in range(images))
        for number, photo in enumerate(tqdm(photos, f"drawing {images:,} photos", images, disable=None)):
            archive.writestr(f"photos/{number:06d}.jpg", photo)
    place = {
        "source": "archive",
        "path": str(path),
        "archive": path.name,
        "folder": None,
        "sha256": hash_file(path),
        "bytes": path.stat().st_size,
    }
    write_manifest(raw, Manifest(**place, images=images, license="drawn for a benchmark", limit=None))


def measure_single(raw: Path, settings: dict[str, Any], duration: float) -> tuple[float, float]:
    """Returns how many photos/s this process decodes, crops and resizes from memory, and the CPU ms per photo."""
    parameters = PreprocessParameters(**settings)
    with zipfile.ZipFile(raw / "photos.zip") as archive:
        photos = [archive.read(name) for name in archive.namelist()[:SINGLE_IMAGES]]
    read_photo("photo", photos[0], parameters)
    started, cpu_started = time.perf_counter(), time.process_time()
    for done, photo in enumerate(itertools.cycle(photos), start=1):
        read_photo("photo", photo, parameters)
        seconds = time.perf_counter() - started
        if seconds > duration:
            return done / seconds, 1000 * (time.process_time() - cpu_started) / done


def measure_together(raw: Path, settings: dict[str, Any], duration: float) -> float:
    """Returns the photos/s of one such process per core in parallel."""
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        return sum(speed for speed, _ in pool.map(measure_single, *([value] * os.cpu_count() for value in (raw, settings, duration))))


def start_stage(raw: Path, out: Path, settings: dict[str, Any]) -> subprocess.Popen:
    """Starts the stage, in a process group of its own."""
    params = out.with_name("params.yaml")
    params.write_text(yaml.safe_dump(read_yaml(ROOT / "presets/demo.yaml") | {"preprocess": settings}))
    command = [sys.executable, ROOT / "stages/preprocess.py", "--params", params, "--raw", raw, "--out", out]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)


def measure_kills(images: int, kills: int) -> None:
    """Kills the stage at random instants, and prints what is kept and whether the result is the same."""
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        raw, out, whole = (Path(name) / part for part in ("raw", "killed", "whole"))
        make_archive(raw, images, None)

        def run(out: Path, timeout: float | None = None) -> float:
            started = time.perf_counter()
            with start_stage(raw, out, SETTINGS) as stage:
                try:
                    stage.wait(timeout)
                except subprocess.TimeoutExpired:
                    os.killpg(stage.pid, signal.SIGKILL)
            return time.perf_counter() - started

        full = run(whole)
        for _ in range(kills):
            run(out, random.uniform(0, full))
            kept = sum(path.stat().st_size for path in out.parent.glob(f".{out.name}-results/*/*.photos")) // HASH_BYTES
            print(f"killed; the results of {kept:,} of {images:,} photos are kept")
        seconds = run(out)
        names = [*sorted(path.name for path in whole.glob("*.safetensors")), "index.json"]
        same = all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)
        print(f"finished in {seconds:.1f} s, without kills {full:.1f} s; {'the same' if same else 'OTHER'} bytes")
        shutil.rmtree(raw)
        make_archive(raw, images + ADDED, None)
        print(f"with {ADDED} more photos: {run(out):.1f} s")


def measure_stage(raw: Path, images: int, folder: Path, settings: dict[str, Any]) -> tuple[float, float]:
    """Returns the photos/s of the stage from start to exit, and the peak memory of its processes in MB."""
    shutil.rmtree(folder / ".shards-results", ignore_errors=True)  # the results of the previous repeat
    started = time.perf_counter()
    with start_stage(raw, folder / "shards", settings) as stage:
        peak_bytes = 0
        while stage.returncode is None:
            peak_bytes = max(peak_bytes, measure_memory(psutil.Process(stage.pid)))
            with contextlib.suppress(subprocess.TimeoutExpired):
                stage.wait(SECONDS_BETWEEN_READINGS)
    seconds = time.perf_counter() - started
    if stage.returncode != 0:
        sys.exit(f"the stage failed with status {stage.returncode}")
    return images / seconds, peak_bytes / 1e6


def measure_memory(process: psutil.Process) -> int:
    """Returns the proportional memory of a process and its descendants in bytes; processes that have just ended count as 0."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


def describe(values: list[float]) -> str:
    """Returns the median and the range."""
    return f"{statistics.median(values):,.2f} ({min(values):,.2f} to {max(values):,.2f})"


def main(cases: list[tuple[int, tuple[int, int] | None]], repeats: int, duration: float) -> None:
    """Measures and prints the tables.

    Args:
        cases: the number of photos, and for portraits their size.
    """
    cores = os.cpu_count()
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"{cores} cores, {platform.machine()}, Python {platform.python_version()}, Pillow {PIL.__version__}, commit {commit}, n = {repeats}"
    )
    print("median (smallest to largest)\n")
    print(
        "| photos | KB each | one process, photos/s | its CPU, ms per photo | one per core, photos/s | stage, photos/s | of cores × one "
        "| of one per core | peak memory, MB |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for images, size in cases:
            settings = SETTINGS if size is None else SETTINGS | {"crop": "face"}
            raw = Path(folder) / f"raw{images}"
            make_archive(raw, images, size)
            single, together, stage, memory = [measure_single(raw, settings, duration)], [measure_together(raw, settings, duration)], [], []
            for _ in range(repeats):
                speed, peak = measure_stage(raw, images, Path(folder), settings)
                stage.append(speed)
                memory.append(peak)
                together.append(measure_together(raw, settings, duration))
                single.append(measure_single(raw, settings, duration))
            speeds, cpu = zip(*single, strict=True)
            of_single = [speed / cores / mean for speed, mean in zip(stage, average_neighbours(speeds), strict=True)]
            of_together = [speed / mean for speed, mean in zip(stage, average_neighbours(together), strict=True)]
            kilobytes = (raw / "photos.zip").stat().st_size / images / 1000
            columns = [describe(values) for values in (speeds, cpu, together, stage, of_single, of_together, memory)]
            title = f"{images:,}" if size is None else f"{images:,} of {size[0]}×{size[1]}, faces"
            print(f"| {title} | {kilobytes:,.1f} | {' | '.join(columns)} |", flush=True)


def average_neighbours(values: Sequence[float]) -> list[float]:
    """Returns the mean of each value and the next."""
    return [(value + after) / 2 for value, after in itertools.pairwise(values)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[10_000, 100_000], help="numbers of photos (default: 10000 100000)")
    parser.add_argument("--repeats", type=int, default=3, help="number of measurements each (default: 3)")
    # the default is long enough to average out short variations of speed
    parser.add_argument("--seconds", type=float, default=20, help="seconds per measurement of one process (default: 20)")
    parser.add_argument("--faces", action="store_true", help="find and align the faces of portraits instead")
    parser.add_argument("--kills", type=int, help="kill the stage this number of times instead")
    chosen = parser.parse_args()
    if chosen.kills is not None:
        for images in chosen.images:
            measure_kills(images, chosen.kills)
        sys.exit()
    main(
        [(images, size) for size, images in PORTRAITS.items()] if chosen.faces else [(images, None) for images in chosen.images],
        chosen.repeats,
        chosen.seconds,
    )
