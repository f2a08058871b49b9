"""Compares the models of several presets on one data set with the same number of real images.

    python benchmarks/quality.py --path celeba10k.zip --images 2000000 --device cuda
    python benchmarks/quality.py --path celeba10k.zip --images 100000 --resolution 32 --seeds 2 --scored 4500 \
        -S train.batch=16 -S model.width=48 -S 'celeba64_r3gan:train.lr=[2e-3, 5e-4]'                               # without a GPU

The scripts of the pipeline run in a copy of the project below --work: download, preprocess and reference once, then train and evaluate
for each preset and seed. Only the model and the settings of its training come from the preset. Photos, crop, resolution, the number of
real images, the half-life of the moving average (a twentieth of them) and the protocol of the score are the same for all; schedules
cover the complete budget. -S changes further parameters for all presets or for one: for example, a learning rate meant for many more
steps may be too low. The table lists the parameters that were changed for one preset, and the number of parameters of each generator,
because the same width gives different sizes. If you run the benchmark again, it resumes: finished runs are not repeated, and an
interrupted training continues.

Prints a table: the mean over the seeds, the range, and the floor, real images against other real ones. Exits with status 1 unless the
distance of the first preset is at most half of the last one's, and no preset is worse than the last.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.config import Loader, read_yaml  # noqa: E402 (the path above must come first)
from facegan.models.generator_file import load_generator  # noqa: E402
from facegan.models.registry import count_parameters  # noqa: E402 (the path above must come first)

PRESETS = ("celeba64_r3gan", "celeba64_stylegan2", "celeba64_dcgan")
SHARE_OF_HALFLIFE = 20
SETTING_FORM = "[PRESET:]SECTION.KEY=VALUE"
OPTIONS = {  # parameters with an option of their own
    "preprocess.resolution": "--resolution",
    "train.images": "--images",
    "train.seed": "--seeds",
    "train.device": "--device",
    "evaluate.images": "--scored",
    "evaluate.extractor": "--extractor",
}


class Setting(NamedTuple):
    """One -S option as text. ``preset`` is None if it applies to all presets."""

    preset: str | None
    section: str
    key: str
    value: str


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", required=True, help="the photos: a zip file, or a folder")
    parser.add_argument("--images", type=int, required=True, help="real images shown to each model")
    parser.add_argument("--presets", nargs="+", default=PRESETS, help="presets to train, the baseline last (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="number of seeds, starting at 0")
    parser.add_argument("--resolution", type=int, default=64, help="in pixels")
    parser.add_argument(
        "-S",
        "--set",
        dest="settings",
        type=parse_setting,
        action="append",
        default=[],
        metavar=SETTING_FORM,
        help="change a parameter of all presets or of one; may be repeated",
    )
    parser.add_argument("--scored", type=int, default=1000, help="number of generated and of real images for each score")
    parser.add_argument("--extractor", default="efficientnet_lite0", help="feature extractor; inception for FID")
    parser.add_argument("--device", default="auto", help="see train.device")
    parser.add_argument("--work", type=Path, default=ROOT / "data/quality", help="output folder")
    return parser.parse_args()


def parse_setting(text: str) -> Setting:
    """Parses one -S option. Raises argparse.ArgumentTypeError if it is invalid."""
    match = re.fullmatch(r"(?:(\w+):)?(\w+)\.(\w+)=(.+)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected {SETTING_FORM}; found {text!r}")
    setting = Setting(*match.groups())
    if option := OPTIONS.get(f"{setting.section}.{setting.key}"):
        raise argparse.ArgumentTypeError(f"expected {option} rather than {text!r}")
    sections = (
        ("model", "train") if setting.preset else ("preprocess", "model", "train", "evaluate")
    )  # data and scores must be the same for all presets
    if setting.section not in sections:
        raise argparse.ArgumentTypeError(f"expected a section among {', '.join(sections)} in {text!r}; found {setting.section!r}")
    return setting


def make_params(arguments: argparse.Namespace, preset: str, seed: int) -> dict[str, Any]:
    """Returns the complete params.yaml for one run: the preset, updated with the shared values and with -S."""
    params = read_yaml(ROOT / "presets" / f"{preset}.yaml")
    photos = Path(arguments.path).resolve()
    shared = {
        "data": {"source": "folder" if photos.is_dir() else "archive", "path": str(photos)},
        "preprocess": {"resolution": arguments.resolution, "crop": "square", "filter": "lanczos", "holdout": 0.1},
        "train": {
            "images": arguments.images,
            "schedule_images": params["train"]["schedule_images"] and arguments.images,
            "ema_halflife_images": arguments.images / SHARE_OF_HALFLIFE,
            "progress_images": max(1, arguments.images // 10),
            "seed": seed,
            "device": arguments.device,
            "on_collapse": "warn",  # a collapse is visible in the score
        },
        "evaluate": {"extractor": arguments.extractor, "images": arguments.scored, "memorisation_images": arguments.scored, "seed": 0},
    }
    for section, values in shared.items():
        params[section] |= values
    for setting in sorted(
        arguments.settings, key=lambda setting: setting.preset is not None
    ):  # settings of one preset override those for all
        if setting.preset in (None, preset):
            params[setting.section][setting.key] = yaml.load(setting.value, Loader)
    return params


def run_stage(project: Path, name: str, params: Path, *more: str | Path) -> None:
    """Runs one of the project's scripts. Exits if it fails; the script has printed the reason."""
    finished = subprocess.run([sys.executable, f"stages/{name}.py", "--params", params, *more], cwd=project, check=False)
    if finished.returncode:
        sys.exit(f"stage {name} with {params} ended with {finished.returncode}")


def prepare(arguments: argparse.Namespace) -> Path:
    """Returns a copy of the project with shards and reference. A copy made from the same photos and parameters is reused."""
    project = arguments.work / "project"
    project.mkdir(parents=True, exist_ok=True)
    for part in ("facegan", "stages"):
        shutil.copytree(ROOT / part, project / part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    params = make_params(arguments, arguments.presets[-1], 0)
    wanted = {section: params[section] for section in ("data", "preprocess", "evaluate")}
    made = project / "made.json"
    if not (made.is_file() and json.loads(made.read_text()) == wanted):
        path = project / "params.yaml"
        path.write_text(yaml.safe_dump(params))
        for name in ("download", "preprocess", "reference"):
            run_stage(project, name, path)
        made.write_text(json.dumps(wanted))
    return project


def score(arguments: argparse.Namespace, project: Path, preset: str, seed: int) -> dict[str, Any]:
    """Returns the report of one model. Trains and scores it unless an earlier call did so with the same parameters."""
    run = project / "runs" / f"{preset}-{seed}"
    path, report = run / "params.yaml", run / "evaluate.json"
    text = yaml.safe_dump(make_params(arguments, preset, seed))
    if not (report.is_file() and path.read_text() == text):
        run.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        path.write_text(text)
        run_stage(project, "train", path, "--model", run / "model", "--metrics", run)
        run_stage(project, "sample", path, "--model", run / "model/generator.safetensors", "--out", run / "samples")
        run_stage(
            project, "evaluate", path, "--model", run / "model/generator.safetensors", "--metrics", report, "--out", run / "evaluation"
        )
    generator, _ = load_generator(run / "model/generator.safetensors")
    complete = json.loads((run / "evaluation/report.json").read_text())
    return complete["generated"] | {
        "protocol": complete["protocol"],
        "floor": complete["floor"],
        "train": json.loads((run / "train.json").read_text()),
        "parameters": count_parameters(generator),
    }


def describe(values: list[float], digits: int = 1) -> str:
    """Returns the mean and the range."""
    return f"{statistics.mean(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def main() -> None:
    arguments = read_arguments()
    project = prepare(arguments)
    reports = {preset: [] for preset in arguments.presets}
    for seed in range(arguments.seeds):
        for preset, runs in reports.items():
            runs.append(score(arguments, project, preset, seed))
    first = reports[arguments.presets[0]][0]
    name = next(key for key in first if key.startswith(("fid", "fd_")))  # as stages/evaluate.py calls the Fréchet distance
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and arguments.device != "cpu" else None
    machine = gpu or f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(
        f"\n{Path(arguments.path).name} at {arguments.resolution} px, {arguments.images:,} real images each, {arguments.seeds} seeds; "
        f"{machine}, PyTorch {torch.__version__}; {name} over {arguments.scored:,} generated and {first['protocol']['real']:,} real "
        f"images, protocol {first['protocol']['fingerprint']}\n"
    )
    print(f"| preset | generator, million parameters | {name} | images/s |\n|---|---|---|---|")
    for preset, runs in reports.items():
        note = "".join(f", {setting.section}.{setting.key} {setting.value}" for setting in arguments.settings if setting.preset == preset)
        speeds = [run["train"]["images_per_second"] for run in runs]
        print(f"| {preset}{note} | {runs[0]['parameters'] / 1e6:.2f} | {describe([run[name] for run in runs])} | {describe(speeds)} |")
    if name in first["floor"]:
        print(f"| real images | | {first['floor'][name]:.1f} | |")
    print("\nfaces: " + ", ".join(str(project / "runs" / f"{preset}-0/samples/grid.png") for preset in arguments.presets))
    means = [statistics.mean(run[name] for run in runs) for runs in reports.values()]
    sys.exit(0 if means[0] <= means[-1] / 2 and max(means) == means[-1] else 1)


if __name__ == "__main__":
    main()
