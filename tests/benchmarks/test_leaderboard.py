"""The leaderboard prints side by side only what may be compared."""

import json
import subprocess
import sys

from projects import ROOT


def write_metrics(path, distance, protocol="ea6babede585"):
    metrics = {"fd_efficientnet_lite0": distance, "precision_efficientnet_lite0": 0.5, "protocol": protocol}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics))
    return str(path)


def run(*arguments):
    done = subprocess.run([sys.executable, ROOT / "benchmarks/leaderboard.py", *arguments], capture_output=True, text=True, check=True)
    tables = done.stdout.split("## ")[1:]
    return [[line.split()[0] for line in table.splitlines()[3:] if line] for table in tables]


def test_runs_are_grouped_by_protocol_and_sorted_within(tmp_path):
    worse, better = write_metrics(tmp_path / "worse.json", 50.0), write_metrics(tmp_path / "better.json", 40.0)
    more = write_metrics(tmp_path / "more.json", 30.0, "0123456789ab")
    truncated = write_metrics(tmp_path / "truncated.json", 20.0, "ba9876543210")
    assert run(worse, more, better, truncated) == [[better, worse], [more], [truncated]]


def test_both_distances_decide_the_order(tmp_path):
    """The first has the better texture, the second the better structure, by a larger factor."""
    paths = []
    for name, texture, structure in (("texture", 190.0, 65.5), ("structure", 266.9, 41.7)):
        paths.append(write_metrics(tmp_path / f"{name}.json", texture))
        metrics = json.loads((tmp_path / f"{name}.json").read_text())
        (tmp_path / f"{name}.json").write_text(json.dumps(metrics | {"fd_pixels16": structure, "fd_pixels16_floor": 3.2}))
    assert run(*paths) == [paths[::-1]]


def test_experiments_and_branches_are_found_in_git(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "main")
    write_metrics(tmp_path / "metrics/evaluate.json", 50.0)
    git("add", ".")
    git("commit", "-m", "first")
    write_metrics(tmp_path / "metrics/evaluate.json", 40.0)
    git("commit", "-am", "second")
    git("update-ref", "refs/exps/12/3456/nimble-face", "HEAD")
    git("reset", "--hard", "HEAD~1")
    write_metrics(tmp_path / "metrics/evaluate.json", 45.0)
    assert run("--root", str(tmp_path)) == [["nimble-face", "workspace", "main"]]


def test_without_git_it_says_what_it_needs(tmp_path):
    command = [sys.executable, ROOT / "benchmarks/leaderboard.py", "--root", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: expected a git repository") and "Traceback" not in done.stderr
