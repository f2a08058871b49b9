"""The runs known in a project: the workspace, its commits, its DVC experiments. Git's and DVC's stores are read, never written or locked.

A DVC experiment is a commit below ``refs/exps``, and a commit holds params.yaml, metrics/ and dvc.lock; the lock names the files of
``data/model`` in DVC's cache by their hashes. So all this is read without starting DVC, which takes seconds for the same.
"""

import configparser
import csv
import dataclasses
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

MOST_COMMITS = 20
MOST_EXPERIMENTS = 50
FILES = ("params.yaml", "metrics/evaluate.json", "metrics/train.json", "metrics/losses.csv", "dvc.lock")
NO_EXPERIMENT = ("exec", "stash", "celery", "running")  # DVC's own notes below refs/exps
HASH = re.compile(r"[0-9a-f]{32}")


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: what it was told and what came of it.

    Attributes:
        name: its name for people and links, unique in the project.
        title: the name and what says more: a commit's subject, an experiment's date.
        parameters: the leaves of params.yaml, by dotted names.
        scores: the numbers of metrics/evaluate.json.
        protocol: the fingerprint of the protocol that made the scores; None without scores.
        training: metrics/train.json.
        losses: the columns of metrics/losses.csv.
        generator: its weights' file, or None where it is not on this machine.
    """

    name: str
    title: str
    parameters: dict[str, Any]
    scores: dict[str, float]
    protocol: str | None
    training: dict[str, Any]
    losses: dict[str, list[float]]
    generator: Path | None


def read_runs(project: Path) -> list[Run]:
    """Returns all runs, the workspace first, then experiments and commits, newest first; commits whose scores are the same once."""
    generator = project / "data" / "model" / "generator.safetensors"
    texts = {name: read_text(project / name) for name in FILES}
    runs = [make_run("workspace", "workspace (the files as they are)", texts, generator if generator.is_file() else None)]
    cache = find_cache(project)
    revisions = [*list_experiments(project), *list_commits(project)]
    seen = set()
    for (name, title, _), texts in zip(revisions, read_commits(project, [commit for _, _, commit in revisions]), strict=True):
        outcome = (texts["metrics/evaluate.json"], texts["metrics/losses.csv"])
        if outcome in seen or not any(outcome):
            continue
        seen.add(outcome)
        runs.append(make_run(name, title, texts, find_generator(cache, texts["dvc.lock"])))
    return runs


def make_run(name: str, title: str, texts: dict[str, str], generator: Path | None) -> Run:
    """Returns a run of its files' texts. What is missing or torn is empty."""
    evaluate, training = (parse(json.loads, texts[f"metrics/{part}.json"]) for part in ("evaluate", "train"))
    scores = {key: float(value) for key, value in evaluate.items() if isinstance(value, int | float)}
    protocol = evaluate.get("protocol")
    parameters = flatten(parse(yaml.safe_load, texts["params.yaml"]))
    return Run(
        name,
        title,
        parameters,
        scores,
        protocol if isinstance(protocol, str) else None,
        training,
        read_columns(texts["metrics/losses.csv"]),
        generator,
    )


def parse(reader: Any, text: str) -> dict[str, Any]:
    """Returns the mapping that a text holds, or an empty one."""
    try:
        content = reader(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested mappings, by dotted names."""
    result = {}
    for key, value in values.items():
        result |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def read_columns(text: str) -> dict[str, list[float]]:
    """Returns the columns of a CSV file of numbers; none when it is no such file."""
    rows = list(csv.DictReader(io.StringIO(text)))
    try:
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
    except (TypeError, ValueError):
        return {}


def read_text(path: Path) -> str:
    """Returns a file's text, or an empty one when it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def git(project: Path, *arguments: str, entering: str = "") -> bytes:
    """Returns what git prints, or nothing when it fails: no repository, no git."""
    command = ["git", "--no-optional-locks", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, input=entering.encode(), capture_output=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def list_experiments(project: Path) -> list[tuple[str, str, str]]:
    """Returns name, title and commit of the DVC experiments, newest first."""
    form = "%(refname)%09%(objectname)%09%(committerdate:format:%Y-%m-%d %H:%M)"
    lines = git(project, "for-each-ref", "--sort=-committerdate", f"--format={form}", "refs/exps").decode(errors="replace").splitlines()
    found = []
    for line in lines:
        ref, commit, date = line.split("\t")
        parts = ref.split("/")
        if len(parts) == 5 and parts[2] not in NO_EXPERIMENT:  # refs/exps/ab/<rest of the baseline's hash>/<name>
            found.append((parts[4], f"{parts[4]} (experiment, {date})", commit))
    return found[:MOST_EXPERIMENTS]


def list_commits(project: Path) -> list[tuple[str, str, str]]:
    """Returns name, title and commit of the newest commits that changed what a run leaves."""
    lines = (
        git(project, "log", f"-{MOST_COMMITS}", "--format=%H%x09%h%x09%s", "--", "metrics", "dvc.lock")
        .decode(errors="replace")
        .splitlines()
    )
    parts = [line.split("\t", 2) for line in lines]
    return [(short, f"{short} ({subject[:60]})", commit) for commit, short, subject in parts]


def read_commits(project: Path, commits: list[str]) -> list[dict[str, str]]:
    """Returns the texts of ``FILES`` at each commit, empty where there is none, in one call of git."""
    wanted = "".join(f"{commit}:{name}\n" for commit in commits for name in FILES)
    stream = io.BytesIO(git(project, "cat-file", "--batch", entering=wanted)) if commits else io.BytesIO()
    results = []
    for _ in commits:
        texts = dict.fromkeys(FILES, "")
        for name in FILES:
            head = stream.readline().split()
            if len(head) == 3 and head[1] == b"blob":
                texts[name] = stream.read(int(head[2])).decode(errors="replace")
                stream.readline()
        results.append(texts)
    return results


def find_cache(project: Path) -> Path:
    """Returns the folder of DVC's local cache, as the project's settings have it."""
    settings = configparser.ConfigParser()
    try:
        settings.read([project / ".dvc" / "config", project / ".dvc" / "config.local"])
        place = settings.get("cache", "dir", fallback="cache")
    except configparser.Error:
        place = "cache"
    return (project / ".dvc" / place) / "files" / "md5"


def find_generator(cache: Path, lock: str) -> Path | None:
    """Returns the cached weights that a dvc.lock names, or None when the cache does not hold them."""
    try:
        outs = parse(yaml.safe_load, lock)["stages"]["train"]["outs"]
        (folder,) = [out["md5"] for out in outs if out["path"] == "data/model"]
        listing = json.loads(locate(cache, folder.removesuffix(".dir"), ".dir").read_text())
        (content,) = [entry["md5"] for entry in listing if entry["relpath"] == "generator.safetensors"]
        path = locate(cache, content)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return path if path.is_file() else None


def locate(cache: Path, digest: str, suffix: str = "") -> Path:
    """Returns where the cache keeps the file of a hash. Raises ValueError when it is no hash."""
    if not HASH.fullmatch(digest):
        raise ValueError(digest)
    return cache / digest[:2] / f"{digest[2:]}{suffix}"
