"""Reads the runs known in a project: the workspace, its commits, its DVC experiments. Git's and DVC's files are never written or locked.

A DVC experiment is a commit below ``refs/exps``. A commit contains params.yaml, metrics/ and dvc.lock, and the lock names the files of
``data/model`` in DVC's cache by their hashes. So none of this needs DVC itself, which takes seconds to start.
"""

import configparser
import csv
import io
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from facegan.common.config import Loader

MAX_COMMITS = 20
MAX_EXPERIMENTS = 50
FILES = ("params.yaml", "metrics/evaluate.json", "metrics/losses.csv", "dvc.lock")
NOT_EXPERIMENTS = ("exec", "stash", "celery", "running")  # DVC's internal refs below refs/exps
HASH = re.compile(r"[0-9a-f]{32}")


class Run(BaseModel):
    """The parameters and results of one run. The HTTP API returns it, without the excluded fields.

    Attributes:
        name: its name in the page and in links, unique in the project.
        title: a description, such as a commit's subject.
        date: of its commit; empty for the workspace.
        parameters: the leaves of params.yaml, by dotted names.
        scores: the numbers in metrics/evaluate.json.
        margins: of scores, half the width of the 95% interval for images from another seed, as far as known.
        protocol: the fingerprint of the scores' protocol; None without scores.
        losses: the columns of metrics/losses.csv.
        generator: the file of its weights, or None if it is not on this machine.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    title: str
    date: str
    parameters: dict[str, Any]
    scores: dict[str, float]
    margins: dict[str, float]
    protocol: str | None
    losses: Annotated[dict[str, list[float]], Field(exclude=True)]
    generator: Annotated[Path | None, Field(exclude=True)]


def read_runs(project: Path) -> list[Run]:
    """Returns all runs: the workspace, then experiments and commits, each newest first. Commits with the same results are listed once."""
    generator = project / "data" / "model" / "generator.safetensors"
    contents = {name: read_text(project / name) for name in FILES}
    cache = find_cache(project)
    margins = parse(json.loads, read_text(project / "data" / "evaluation" / "report.json")).get("another_seed_95") or {}
    runs = [make_run("workspace", "the current files", "", contents, generator if generator.is_file() else None, margins)]
    revisions = [*list_experiments(project), *list_commits(project)]
    seen = set()
    for (name, title, date, _), contents in zip(revisions, read_commits(project, [commit for *_, commit in revisions]), strict=True):
        results = (contents["metrics/evaluate.json"], contents["metrics/losses.csv"])
        if results not in seen and any(results):
            seen.add(results)
            runs.append(make_run(name, title, date, contents, find_generator(cache, contents["dvc.lock"])))
    return runs


def make_run(
    name: str, title: str, date: str, contents: dict[str, str], generator: Path | None, margins: Mapping[str, float] = MappingProxyType({})
) -> Run:
    """Returns a run from the contents of its files. Missing and invalid files count as empty."""
    evaluate = parse(json.loads, contents["metrics/evaluate.json"])
    protocol = evaluate.get("protocol")
    return Run(
        name=name,
        title=title,
        date=date,
        parameters=flatten(parse(partial(yaml.load, Loader=Loader), contents["params.yaml"])),
        scores={key: float(value) for key, value in evaluate.items() if isinstance(value, int | float)},
        margins=dict(margins),
        protocol=protocol if isinstance(protocol, str) else None,
        losses=read_columns(contents["metrics/losses.csv"]),
        generator=generator,
    )


def parse(load: Callable[[str], Any], text: str) -> dict[str, Any]:
    """Returns the mapping that a text contains, or an empty one."""
    try:
        content = load(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested mappings, by dotted names."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        result |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return result


def read_columns(text: str) -> dict[str, list[float]]:
    """Returns the columns of a CSV file of numbers, or none if the text is not such a file."""
    rows = list(csv.DictReader(io.StringIO(text)))
    try:
        return {name: [float(row[name]) for row in rows] for name in rows[0]} if rows else {}
    except (TypeError, ValueError):
        return {}


def read_text(path: Path) -> str:
    """Returns the text of a file, or an empty one if it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def git(project: Path, *arguments: str, stdin: str = "") -> bytes:
    """Returns git's output, or nothing if it fails, for example without a repository or without git."""
    command = ["git", "--no-optional-locks", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, input=stdin.encode(), capture_output=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return b""


def list_experiments(project: Path) -> list[tuple[str, str, str, str]]:
    """Returns name, title, date and commit of the DVC experiments, newest first."""
    form = "%(refname)%09%(objectname)%09%(committerdate:format:%Y-%m-%d %H:%M)"
    lines = git(project, "for-each-ref", "--sort=-committerdate", f"--format={form}", "refs/exps").decode(errors="replace").splitlines()
    found = []
    for line in lines:
        ref, commit, date = line.split("\t")
        parts = ref.split("/")
        if len(parts) == 5 and parts[2] not in NOT_EXPERIMENTS:  # refs/exps/ab/<rest of the baseline's hash>/<name>
            found.append((parts[4], "an experiment", date, commit))
    return found[:MAX_EXPERIMENTS]


def list_commits(project: Path) -> list[tuple[str, str, str, str]]:
    """Returns name, title, date and commit of the newest commits that changed the results of a run."""
    form, date = "--format=%H%x09%h%x09%cd%x09%s", "--date=format:%Y-%m-%d %H:%M"
    output = git(project, "log", f"-{MAX_COMMITS}", form, date, "--", "metrics", "dvc.lock").decode(errors="replace")
    parts = [line.split("\t", 3) for line in output.splitlines()]
    return [(short, subject[:60], date, commit) for commit, short, date, subject in parts]


def read_commits(project: Path, commits: list[str]) -> list[dict[str, str]]:
    """Returns the contents of ``FILES`` at each commit, empty for missing ones, with a single call of git."""
    names = "".join(f"{commit}:{name}\n" for commit in commits for name in FILES)
    stream = io.BytesIO(git(project, "cat-file", "--batch", stdin=names)) if commits else io.BytesIO()
    results = []
    for _ in commits:
        contents = dict.fromkeys(FILES, "")
        for name in FILES:
            head = stream.readline().split()
            if len(head) == 3 and head[1] == b"blob":
                contents[name] = stream.read(int(head[2])).decode(errors="replace")
                stream.readline()
        results.append(contents)
    return results


def find_cache(project: Path) -> Path:
    """Returns the folder of DVC's local cache according to the project's settings."""
    settings = configparser.ConfigParser()
    try:
        settings.read([project / ".dvc" / "config", project / ".dvc" / "config.local"])
        folder = settings.get("cache", "dir", fallback="cache")
    except configparser.Error:
        folder = "cache"
    return (project / ".dvc" / folder) / "files" / "md5"


def find_generator(cache: Path, lock: str) -> Path | None:
    """Returns the cached weights that a dvc.lock names, or None if they are not in the cache."""
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
    """Returns the path in the cache of the file with that hash. Raises ValueError if it is not a hash."""
    if not HASH.fullmatch(digest):
        raise ValueError(digest)
    return cache / digest[:2] / f"{digest[2:]}{suffix}"
