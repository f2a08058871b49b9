"""Kills every stage at random instants, and compares each ending with that of a stage that nobody touched.

    python tests/kill_everything.py --kills 50 --seed 0

Every trial takes one stage of a small project (what the stages before it made lies there), ends it by SIGKILL after a random part of the
time that it takes, every second time while it writes its results, and runs it again: what it leaves must be the same bytes, with
nothing unfinished beside it. Exit status 1 where one differs.
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

import yaml

from facegan.common.config import read_yaml

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from projects import copy_project  # noqa: E402

OUTPUTS = {
    "download": ["data/raw"], "preprocess": ["data/shards"], "reference": ["data/reference"],
    "train": ["data/model", "metrics/losses.csv", "metrics/quick_scores.csv"],
    "evaluate": ["data/evaluation", "metrics/evaluate.json"], "sample": ["data/samples"],
}  # fmt: skip


def make_project(folder: Path) -> Path:
    """Returns a copy of the project with parameters so small that a stage takes seconds."""
    project = copy_project(
        folder, {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "spectral"}, images=160, progress_images=80
    )
    params = read_yaml(project / "params.yaml")
    params["data"]["count"] = 120
    params["evaluate"] |= {"images": 24, "memorisation_images": 24}
    params["sample"]["count"] = 4
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return project


def start(project: Path, stage: str) -> int:
    """Starts a stage's script in a fork of this process, which has imported everything already. Returns the fork's id."""
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
    """Waits for a fork's end. Returns its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(project: Path, stage: str, child: int, seconds: float, while_writing: bool) -> int:
    """Ends a fork after so many seconds, or soon after the first of its results has come. Returns its exit status."""
    deadline = time.monotonic() + seconds
    signs = [*(project / output for output in OUTPUTS[stage]), *([project / ".checkpoints"] if stage == "train" else [])]
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        begun = any((project / ".checkpoints").glob("*/finished/*")) if stage == "train" else any(sign.exists() for sign in signs)
        if while_writing and begun:
            time.sleep(random.uniform(0, 0.3))
            break
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    return finish(child)


def hash_outputs(project: Path, stage: str) -> dict[str, str]:
    """Returns the hash of each file that a stage has left."""
    files = [
        file
        for output in OUTPUTS[stage]
        for file in ([project / output] if (project / output).is_file() else sorted((project / output).rglob("*")))
    ]
    return {file.relative_to(project).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def run_trial(before: Path, stage: str, seconds: float, while_writing: bool, expected: dict[str, str]) -> tuple[bool, str]:
    """Kills a stage in a copy of the project, and runs it again. Returns whether it was in time, and what is wrong with the ending."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        shutil.copytree(before, project)
        in_time = kill(project, stage, start(project, stage), seconds, while_writing) == -signal.SIGKILL
        if finish(start(project, stage)):
            return in_time, (project / f"{stage}.log").read_text()[-2000:]
        found = hash_outputs(project, stage)
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        wrong += [path.name for path in project.rglob("*") if path.name.endswith(".part") or path.name.startswith(".trash")]
        return in_time, f"differ: {', '.join(wrong)}" if wrong else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    import facegan.sampling.faces
    import facegan.sampling.report
    import facegan.scoring.evaluate
    import facegan.training.loop  # noqa: F401 (each fork has them then)

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
            moment = "while it wrote" if while_writing else f"after {after:.1f} s"
            print(f"{kills} {stage}, killed {moment if in_time else 'too late'}: {wrong or 'the same bytes'}", flush=True)
    print(f"{kills} kills, {failures} other endings")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
