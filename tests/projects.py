"""A copy of the project in a temporary folder, small shards, and stages that run in it as users run them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from warm_python import start_script

from facegan.common.config import read_yaml
from facegan.common.shards import ShardWriter

ROOT = Path(__file__).resolve().parents[1]
SMALL_TRAIN = {"images": 960, "batch": 16, "progress_images": 80, "device": "cpu"}


def copy_project(folder: Path, model: dict[str, Any] | None = None, preset: str = "celeba64_dcgan", **train: Any) -> Path:
    """Returns a copy of the project below ``folder``, with a preset's model and training, made small; ``train`` changes them further.

    All other parameters are those of the demo, so that photos are drawn; there are no labels.
    """
    project = folder / "project"
    for part in ("facegan", "stages", "presets"):
        shutil.copytree(ROOT / part, project / part, ignore=shutil.ignore_patterns("__pycache__"))
    params, chosen = (read_yaml(ROOT / "presets" / f"{name}.yaml") for name in ("demo", preset))
    params |= {"model": chosen["model"], "train": chosen["train"]}
    params["data"]["labels"] = None
    params["model"] = model or {**params["model"], "width": 8}
    params["preprocess"]["resolution"] = 32
    params["train"] |= SMALL_TRAIN | train
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return project


def change_params(project: Path, section: str = "train", **changes: Any) -> None:
    """Changes parameters of one section of the copy."""
    params = read_yaml(project / "params.yaml")
    params[section] |= changes
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def draw_pictures(count: int, resolution: int, seed: int = 0) -> np.ndarray:
    """Returns images (count, 3, H, W) in uint8: a bright ellipse near the centre on a dark background, in random colours."""
    random = np.random.default_rng(seed)
    line = np.linspace(-1, 1, resolution)
    centre = random.uniform(-0.2, 0.2, (count, 2, 1, 1))
    inside = (line[None, None, :] - centre[:, 0]) ** 2 / 0.4 + (line[None, :, None] - centre[:, 1]) ** 2 / 0.6 < 1  # (N, H, W)
    bright, dark = random.integers(160, 256, (count, 3, 1, 1)), random.integers(0, 60, (count, 3, 1, 1))
    return np.where(inside[:, None], bright, dark).astype(np.uint8)


def make_shards(
    project: Path, count: int = 120, resolution: int = 32, seed: int = 0, hold_out: bool = True, labelled: bool = False
) -> None:
    """Fills data/shards of the copy with drawn images. Every tenth is held out, unless ``hold_out`` is False.

    Args:
        labelled: with a column ``red``: whether the centre of the picture is more red than green.
    """
    columns = {"red": ("no", "yes")} if labelled else None
    with ShardWriter(project / "data" / "shards", resolution, columns=columns) as writer:
        for number, picture in enumerate(draw_pictures(count, resolution, seed)):
            red, green, _ = picture[:, resolution // 2, resolution // 2]
            labels = [int(red > green)] if labelled else []
            writer.add("holdout" if hold_out and number % 10 == 9 else "train", picture, labels)
        writer.finish(crop="none", filter="lanczos", source_fingerprint=f"drawn {count} {seed}")


def environment(**extra: str) -> dict[str, str]:
    """Returns an environment in which a stage runs on one core."""
    return {**os.environ, "OMP_NUM_THREADS": "1", **extra}


def start_stage(project: Path, name: str, *arguments: str, **extra: str) -> subprocess.Popen[str]:
    """Starts the script of a stage in the copy. Unless specified otherwise, training writes a checkpoint after every step."""
    often = ("--checkpoint-seconds", "0") if name == "train" and "--checkpoint-seconds" not in arguments else ()
    return start_script(project / f"stages/{name}.py", [*often, *arguments], project, environment(**extra))


def run_stage(project: Path, name: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs the script of a stage in the copy to its end."""
    return complete(start_stage(project, name, *arguments, **extra))


def run_script(script: Path, *arguments: Any, cwd: Path = ROOT, **extra: str) -> subprocess.CompletedProcess[str]:
    """Runs any script to its end."""
    return complete(start_script(script, list(map(str, arguments)), cwd, environment(**extra)))


def run_ranks(scripts: list[Path], *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Runs scripts as the processes of one training, as the launcher of a cluster starts them. Returns the finished ones by rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = {"WORLD_SIZE": str(len(scripts)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    places = [(script, environment(**address, RANK=str(rank), LOCAL_RANK=str(rank))) for rank, script in enumerate(scripts)]
    processes = [start_script(script, list(arguments), script.parents[1], names) for script, names in places]
    return [complete(process) for process in processes]


def complete(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for the end, as ``subprocess.run`` does."""
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None, seconds: float = 300) -> None:
    """Waits until the condition holds or the process has ended; fails after this time."""
    deadline = time.monotonic() + seconds
    while not condition() and (process is None or process.poll() is None):
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.001)
