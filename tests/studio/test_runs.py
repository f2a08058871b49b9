"""Reading runs from a real git repository and DVC's cache: commits, experiments, invalid locks."""

import hashlib
import json
import subprocess

import pytest
import yaml
from small_generators import write_small

from facegan.common.errors import FaceganError
from facegan.studio.generators import Generators
from facegan.studio.runs import read_runs

LOSSES = "images_seen,loss_generator\n10,{}\n20,1.5\n"


def git(project, *arguments):
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True, text=True).stdout.strip()


def write_run(project, lr, score, protocol="aaa", seed=0):
    """Writes the results of a run, with its generator in DVC's cache."""
    (project / "metrics").mkdir(exist_ok=True)
    (project / "params.yaml").write_text(yaml.safe_dump({"train": {"lr": lr, "batch": 8}}))
    (project / "metrics" / "evaluate.json").write_text(json.dumps({"fd_x": score, "protocol": protocol, "memorised": False}))
    (project / "metrics" / "losses.csv").write_text(LOSSES.format(score))
    content = write_small(project / "generator", seed=seed).read_bytes()
    (project / "generator").unlink()
    listing = json.dumps([{"md5": cache(project, content), "relpath": "generator.safetensors"}]).encode()
    lock = {"stages": {"train": {"outs": [{"path": "data/model", "md5": cache(project, listing, ".dir") + ".dir"}]}}}
    (project / "dvc.lock").write_text(yaml.safe_dump(lock))


def cache(project, content, suffix=""):
    """Stores a file in DVC's cache and returns its hash."""
    digest = hashlib.md5(content).hexdigest()
    path = project / ".dvc" / "cache" / "files" / "md5" / digest[:2] / (digest[2:] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return digest


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two commits and an experiment on the second."""
    project = tmp_path_factory.mktemp("runs")
    git(project, "init", "-q", "-b", "main")
    (project / ".gitignore").write_text(".dvc\n")
    commits = []
    for lr, score in ((1e-4, 50.0), (2e-4, 40.0)):
        write_run(project, lr, score, seed=int(score))
        git(project, "add", ".")
        git(project, "commit", "-qm", f"rate {lr}")
        commits.append(git(project, "rev-parse", "HEAD"))
    write_run(project, 3e-4, 30.0, protocol="bbb", seed=30)
    git(project, "add", ".")
    git(project, "commit", "-qm", "an experiment")
    experiment = git(project, "rev-parse", "HEAD")
    git(project, "update-ref", f"refs/exps/{commits[1][:2]}/{commits[1][2:]}/wide-goat", experiment)
    git(project, "update-ref", "refs/exps/exec/EXEC_HEAD", experiment)
    git(project, "reset", "-q", "--hard", commits[1])
    return project


def test_workspace_experiments_and_commits_are_read(project):
    runs = {run.name: run for run in read_runs(project)}
    experiment = runs["wide-goat"]
    assert experiment.parameters == {"train.lr": 3e-4, "train.batch": 8}
    assert experiment.scores["fd_x"] == 30.0
    assert experiment.protocol == "bbb"
    assert experiment.losses == {"images_seen": [10.0, 20.0], "loss_generator": [30.0, 1.5]}
    assert [run.scores["fd_x"] for run in runs.values()] == [40.0, 30.0, 40.0, 50.0]  # workspace, experiment, two commits
    assert runs["workspace"].generator is None  # data/model does not exist


def test_the_generator_of_each_run_is_read_from_the_cache(project):
    generators = Generators(project)
    weights = set()
    for name in generators.known():
        with generators.use(name) as loaded:
            weights.add(loaded.fingerprint)
    assert len(weights) == 3


def test_reading_does_not_change_the_repository(project):
    def snapshot():
        status = git(project, "status", "--porcelain")  # may rewrite the index itself
        files = (path for path in (project / ".git").rglob("*") if path.is_file() and path.name != "index")
        return git(project, "for-each-ref"), status, sorted((path, path.stat().st_mtime_ns) for path in files)

    before = snapshot()
    read_runs(project)
    assert snapshot() == before


def test_without_git_only_the_workspace_is_listed(tmp_path):
    assert [run.name for run in read_runs(tmp_path)] == ["workspace"]


OUTSIDE = "stages: {train: {outs: [{path: data/model, md5: ../../../etc/passwd}]}}"


@pytest.mark.parametrize("lock", ["", "[]", "stages: 3", OUTSIDE, "a: !!python/object:os.system x"])
def test_an_invalid_lock_gives_no_generator(tmp_path, lock):
    git(tmp_path, "init", "-q")
    write_run(tmp_path, 1, 2.0)
    (tmp_path / "dvc.lock").write_text(lock)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    assert [run.generator for run in read_runs(tmp_path)] == [None, None]


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../generator", "x" * 500])
def test_only_known_generators_are_opened(project, name):
    with pytest.raises(FaceganError, match="expected a generator among"):
        Generators(project).find(name)


def test_the_workspace_keeps_its_generator_while_dvc_trains(tmp_path):
    write_run(tmp_path, 1, 2.0)  # dvc.lock and the cache, without data/model, which DVC has removed
    generators = Generators(tmp_path)
    with generators.use("workspace") as loaded:
        kept = loaded.fingerprint
    write_small(tmp_path / "data" / "model" / "generator.safetensors", seed=5)
    with generators.use("workspace") as loaded:
        assert loaded.fingerprint != kept


def test_generators_of_a_given_folder_are_known_by_their_paths(tmp_path):
    write_small(tmp_path / "others" / "nested" / "small.safetensors")
    generators = Generators(tmp_path / "project", folder=tmp_path / "others")
    assert list(generators.known()) == ["nested/small.safetensors"]
    with generators.use("nested/small.safetensors") as loaded:
        assert loaded.card.resolution == 32


def test_the_spread_between_seeds_is_read_where_it_is_known(tmp_path):
    write_run(tmp_path, 1, 2.0)
    (tmp_path / "data" / "evaluation").mkdir(parents=True)
    (tmp_path / "data" / "evaluation" / "report.json").write_text(json.dumps({"another_seed_95": {"fd_x": 0.5}}))
    assert read_runs(tmp_path)[0].margins == {"fd_x": 0.5}
