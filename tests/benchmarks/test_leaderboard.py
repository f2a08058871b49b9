"""The leaderboard prints side by side only what may be compared."""

import dataclasses
import json
import subprocess
import sys

from projects import ROOT

from facegan.scoring.protocol import Protocol

PROTOCOL = Protocol(
    data="a" * 64, resolution=32, crop="none", filter="lanczos", split="train", real=100, extractor="efficientnet_lite0", weights_sha256="b",
    resize="c", generated=100, seed=0, truncation=1.0,
)


def write_report(path, distance, **changes):
    protocol = dataclasses.replace(PROTOCOL, **changes)
    name = "fd_efficientnet_lite0"
    report = {
        name: distance, "precision_efficientnet_lite0": 0.5, "recall_efficientnet_lite0": 0.25, "another_seed_95": {name: 1.5},
        "floor": {"images": 100, name: 10.0}, "images_seen": 1000,
        "protocol": {"fingerprint": protocol.fingerprint, **dataclasses.asdict(protocol)},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report))
    return str(path)


def run(*arguments):
    done = subprocess.run([sys.executable, ROOT / "benchmarks/leaderboard.py", *arguments], capture_output=True, text=True, check=True)
    tables = done.stdout.split("## ")[1:]
    return [[line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")][1:] for table in tables]


def test_runs_are_grouped_by_protocol_and_sorted_within(tmp_path):
    worse, better = write_report(tmp_path / "worse.json", 50.0), write_report(tmp_path / "better.json", 40.0, seed=3)
    more = write_report(tmp_path / "more.json", 30.0, generated=200)
    truncated = write_report(tmp_path / "truncated.json", 20.0, truncation=0.7)
    assert run(worse, more, better, truncated) == [[better, worse], [more], [truncated]]


def test_experiments_and_branches_are_found_in_git(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "main")
    write_report(tmp_path / "metrics/evaluate.json", 50.0)
    git("add", ".")
    git("commit", "-m", "first")
    write_report(tmp_path / "metrics/evaluate.json", 40.0)
    git("commit", "-am", "second")
    git("update-ref", "refs/exps/12/3456/nimble-face", "HEAD")
    git("reset", "--hard", "HEAD~1")
    write_report(tmp_path / "metrics/evaluate.json", 45.0)
    assert run("--root", str(tmp_path)) == [["nimble-face", "workspace", "main"]]
