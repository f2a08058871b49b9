"""Kills every stage at random moments, and compares the output of the next run with that of an uninterrupted one.

    python tests/kill_everything.py --kills 50 --seed 0

Each trial takes one stage of a small project, with the outputs of the earlier stages, and kills it with SIGKILL after a random part of its
duration, or, in every second trial, while it writes its results. The stage is then run again. Its output must be byte-identical, without
temporary files. The exit status is 1 if it is not.
"""

import argparse
import hashlib
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from projects import change_params, copy_project, run_stage, start_stage  # noqa: E402

OUTPUTS = {
    "download": ["data/raw"], "preprocess": ["data/shards"], "reference": ["data/reference"],
    "train": ["data/model", "metrics/losses.csv", "metrics/quick_scores.csv"],
    "evaluate": ["data/evaluation", "metrics/evaluate.json"], "sample": ["data/samples"],
}  # fmt: skip


def make_project(folder: Path) -> Path:
    """Returns a copy of the project with small parameters: a stage takes seconds."""
    model = {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "spectral"}
    project = copy_project(folder, model, images=160, progress_images=80)
    change_params(project, "data", count=120)
    change_params(project, "evaluate", images=24, memorisation_images=24)
    change_params(project, "sample", count=4)
    return project


def kill(project: Path, stage: str, seconds: float, while_writing: bool) -> bool:
    """Kills a stage after this time, or soon after it has begun to write its results. Returns whether it was still running."""
    process, deadline = start_stage(project, stage), time.monotonic() + seconds
    results = [".checkpoints/*/finished/*"] if stage == "train" else OUTPUTS[stage]
    while time.monotonic() < deadline and process.poll() is None:
        if while_writing and any(any(project.glob(result)) for result in results):
            time.sleep(random.uniform(0, 0.3))
            break
        time.sleep(0.002)
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def hash_outputs(project: Path, stage: str) -> dict[str, str]:
    """Returns the hash of each output file of a stage."""
    files = [file for output in OUTPUTS[stage] for file in (project / output, *(project / output).rglob("*"))]
    return {file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def run_trial(before: Path, stage: str, seconds: float, while_writing: bool, expected: dict[str, str]) -> tuple[bool, str]:
    """Kills a stage in a copy of the project, and runs it again. Returns whether it was still running, and the differences."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(before, project)
        in_time = kill(project, stage, seconds, while_writing)
        result = run_stage(project, stage)
        if result.returncode:
            return in_time, result.stderr[-2000:]
        found = hash_outputs(project, stage)
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        wrong += [path.name for path in project.rglob("*") if path.name.endswith(".part") or path.name.startswith(".trash")]
        return in_time, f"different: {', '.join(wrong)}" if wrong else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        befores, seconds, expected = {}, {}, {}
        for stage in OUTPUTS:
            befores[stage] = shutil.copytree(project, Path(folder) / f"before {stage}")
            began = time.monotonic()
            result = run_stage(project, stage)
            if result.returncode:
                sys.exit(result.stderr)
            seconds[stage], expected[stage] = time.monotonic() - began, hash_outputs(project, stage)
            print(f"{stage}: {seconds[stage]:.1f} s, {len(expected[stage])} files", flush=True)

        kills = failures = 0
        while kills < arguments.kills:
            stage = random.choice(list(OUTPUTS))
            while_writing = random.random() < 0.5
            after = seconds[stage] * (3 if while_writing else random.random())
            in_time, wrong = run_trial(befores[stage], stage, after, while_writing, expected[stage])
            kills, failures = kills + in_time, failures + bool(wrong)
            moment = "while writing" if while_writing else f"after {after:.1f} s"
            print(f"{kills} {stage}, killed {moment if in_time else 'too late'}: {wrong or 'identical'}", flush=True)
    print(f"{kills} kills, {failures} with different output")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
