"""Kills every stage at random moments, and compares the output of the next run with that of an uninterrupted one.

    python tests/kill_everything.py --kills 50 --seed 0

Each trial takes one stage of a small project, with the outputs of the earlier stages, and kills it with SIGKILL after a random part of its
duration, or, in every second trial, while it writes its results. The stage is then run again. Its output must be byte-identical, without
temporary files. The exit status is 1 if it is not.
"""

import argparse
import hashlib
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from projects import change_params, copy_project  # noqa: E402

OUTPUTS = {
    "download": ["data/raw"], "preprocess": ["data/shards"], "reference": ["data/reference"],
    "train": ["data/model", "metrics/losses.csv", "metrics/quick_scores.csv"],
    "evaluate": ["data/evaluation", "metrics/evaluate.json"], "sample": ["data/samples"],
}  # fmt: skip


def make_project(folder: Path) -> Path:
    """Returns a copy of the project with small parameters: a stage takes seconds."""
    project = copy_project(
        folder, {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "spectral"}, images=160, progress_images=80
    )
    change_params(project, "data", count=120)
    change_params(project, "evaluate", images=24, memorisation_images=24)
    change_params(project, "sample", count=4)
    return project


def start(project: Path, stage: str) -> int:
    """Starts a stage's script in a fork of this process, which has imported all modules. Returns the process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.chdir(project)
        with (project / f"{stage}.log").open("a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.argv = [f"stages/{stage}.py", *(["--checkpoint-seconds", "0"] if stage == "train" else [])]
        sys.path.insert(0, str(project / "stages"))
        runpy.run_path(f"stages/{stage}.py", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        print(end.code if isinstance(end.code, str) else "", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def finish(child: int) -> int:
    """Waits for a process. Returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(project: Path, stage: str, child: int, seconds: float, while_writing: bool) -> int:
    """Kills a process after this time, or soon after it has begun to write its results. Returns its exit status."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if stage == "train":
            begun = any((project / ".checkpoints").glob("*/finished/*"))
        else:
            begun = any((project / output).exists() for output in OUTPUTS[stage])
        if while_writing and begun:
            time.sleep(random.uniform(0, 0.3))
            break
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return finish(child)


def hash_outputs(project: Path, stage: str) -> dict[str, str]:
    """Returns the hash of each output file of a stage."""
    files = [
        file
        for output in OUTPUTS[stage]
        for file in ([project / output] if (project / output).is_file() else sorted((project / output).rglob("*")))
    ]
    return {file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def run_trial(before: Path, stage: str, seconds: float, while_writing: bool, expected: dict[str, str]) -> tuple[bool, str]:
    """Kills a stage in a copy of the project, and runs it again. Returns whether it was still running, and the differences."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(before, project)
        in_time = kill(project, stage, start(project, stage), seconds, while_writing) == -signal.SIGKILL
        if finish(start(project, stage)):
            return in_time, (project / f"{stage}.log").read_text()[-2000:]
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
    import facegan.sampling.faces
    import facegan.sampling.report
    import facegan.scoring.evaluate
    import facegan.training.loop  # noqa: F401 (imported once for all forks)

    with tempfile.TemporaryDirectory() as folder:
        project = make_project(Path(folder))
        befores, seconds, expected = {}, {}, {}
        for stage in OUTPUTS:
            befores[stage] = shutil.copytree(project, Path(folder) / f"before {stage}")
            began = time.monotonic()
            if finish(start(project, stage)):
                sys.exit((project / f"{stage}.log").read_text())
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
