"""The pipeline as users type it: dvc repro, experiments, queues and comparisons, in a small copy of the project."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from import_closure import ROOT
from marked_pictures import read_source_type
from projects import run_stage
from warm_python import make_python

from facegan.common.config import read_yaml

STAGES = ("download", "preprocess", "reference", "train", "evaluate", "sample")
IDENTITY = {f"GIT_{who}_{what}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def run(folder: Path, *command: str, fails: bool = False) -> str:
    """Runs a command in the folder and returns what it printed. Fails unless it fails as expected."""
    environment = {**os.environ, **IDENTITY, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert bool(result.returncode) == fails, result.stdout + result.stderr
    return result.stdout + result.stderr


def stages_run(output: str) -> set[str]:
    """Returns the stages whose commands were executed, rather than restored or skipped."""
    return {stage for stage in STAGES if f"> python stages/{stage}.py" in output}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Iterator[Path]:
    """A clone with small parameters, after its first ``dvc repro``, all committed."""
    project = tmp_path_factory.mktemp("pipeline") / "project"
    project.mkdir()
    for name in ("facegan", "stages", ".dvc/config", ".dvc/plots.html", ".dvcignore", ".gitignore", "dvc.yaml", "presets", "start"):
        (project / name).parent.mkdir(exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, project / name)
    params = read_yaml(ROOT / "params.yaml")
    params["data"] |= {"count": 120, "labels": ["glasses"]}
    params["model"] = {"name": "dcgan", "width": 8, "latent_size": 16, "discriminator_norm": "spectral"}
    params["train"] |= {"images": 480, "batch": 16, "progress_images": 160}
    params["evaluate"] |= {"images": 24, "memorisation_images": 24}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (project / "metrics").mkdir()
    run(project, "git", "init", "-q")
    run(project, "git", "add", ".")
    run(project, "git", "commit", "-qm", "the project")
    output = run(project, "dvc", "repro")
    assert stages_run(output) == set(STAGES)
    run(project, "git", "add", ".")
    run(project, "git", "commit", "-qm", "a run")
    with pytest.MonkeyPatch.context() as patch:  # from here on the stages start faster
        patch.setenv("PATH", f"{make_python(tmp_path_factory.mktemp('python'))}{os.pathsep}{os.environ['PATH']}")
        yield project


def test_all_documented_outputs_exist(project):
    documented = {
        "data/raw": ("manifest.json",), "data/shards": ("index.json", "preview.png"), "data/model": ("generator.safetensors",),
        "data/samples": ("grid.png", "walk.webp", "progress.gif", "losses.png"), "data/evaluation": ("report.json", "neighbours.png"),
        "metrics": ("train.json", "losses.csv", "evaluate.json"),
    }  # fmt: skip
    assert [name for folder, names in documented.items() for name in names if not (project / folder / name).is_file()] == []
    assert len(list((project / "data/samples/faces").glob("*.png"))) == 10
    assert len(list((project / ".checkpoints").glob("*/finished/*/state.ckpt"))) == 1


def test_generated_pictures_are_marked_and_photos_are_not(project):
    kinds = {path: read_source_type(path.read_bytes()) for path in (project / "data").rglob("*.png")}
    photos = {project / "data" / name for name in ("shards/preview.png", "shards/preview_labels.png", "samples/losses.png")}
    composites = {path for path, kind in kinds.items() if kind == "compositeWithTrainedAlgorithmicMedia"}
    assert composites == {project / "data/evaluation/neighbours.png"}
    assert {path for path, kind in kinds.items() if not kind} == photos and len(kinds) > 12


def test_nothing_changed_nothing_runs(project):
    assert stages_run(run(project, "dvc", "repro")) == set()
    assert "up to date" in run(project, "dvc", "status")


def test_reference_is_computed_before_training(project):
    planned = re.findall(r"> python stages/(\w+)\.py", run(project, "dvc", "repro", "--dry", "--force"))
    assert sorted(planned) == sorted(STAGES)
    assert planned.index("reference") < planned.index("train")


def test_data_is_ignored_by_git_and_the_lock_is_not(project):
    files = run(project, "git", "ls-files").splitlines()
    assert "dvc.lock" in files and "metrics/evaluate.json" in files
    assert not any(file.startswith(("data/", ".checkpoints/")) for file in files)


def test_changed_number_reruns_its_stages_and_is_compared(project):
    output = run(project, "dvc", "exp", "run", "-S", "train.lr=1e-3")
    assert stages_run(output) == {"train", "evaluate", "sample"}
    changes = json.loads(run(project, "dvc", "params", "diff", "--json"))
    assert changes["params.yaml"]["train.lr"]["new"] == 1e-3
    score = json.loads(run(project, "dvc", "metrics", "diff", "--json"))["metrics/evaluate.json"]["fd_efficientnet_lite0"]
    assert score["old"] != score["new"]
    images = run(project, "dvc", "plots", "diff", "HEAD")
    assert "index.html" in images
    html = (project / "dvc_plots" / "index.html").read_text()
    assert "losses" in html and "grid.png" in html
    run(project, "git", "checkout", "-q", ".")
    run(project, "dvc", "checkout", "-q")


def test_workflow_writes_its_comment(project):
    workflow = read_yaml(ROOT / ".github/workflows/report.yml")
    (script,) = (step["run"] for step in workflow["jobs"]["report"]["steps"] if step.get("name") == "Write the comment")
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("lr: 0.002", "lr: 0.003"))
    run(project, "env", "BASE=HEAD", "bash", "-ec", script)
    (project / "params.yaml").write_text(params)
    comment = (project / "report.md").read_text()
    (project / "report.md").unlink()
    assert re.search(r"\| params\.yaml +\| train\.lr +\| 0\.002 +\| 0\.003", comment)
    assert "![generated faces](data/samples/grid.png)" in comment


def test_generator_is_an_artifact(project):
    run(project, "git", "tag", "-am", "the first", "generator@v1.0.0")
    run(project, "dvc", "artifacts", "get", ".", "generator", "-o", "found.safetensors")
    found = project / "found.safetensors"
    assert found.read_bytes() == (project / "data/model/generator.safetensors").read_bytes()
    found.unlink()


def test_the_page_of_plots_has_charts_and_pictures_and_fetches_nothing(project):
    run(project, "dvc", "plots", "show")
    page = re.sub(r"<template.*?</template>", "", (project / "dvc_plots" / "index.html").read_text(), flags=re.DOTALL)  # vega.js is missing
    for title in ("Losses", "What the discriminator says", "Diversity", "mean logit", "real images shown"):
        assert title in page, title
    pictures = ["data/evaluation/neighbours.png", "data/samples/grid.png", "data/samples/progress.gif", "data/shards/preview.png"]
    assert re.findall(r"<p>(data/\S+)</p>", page) == pictures
    assert not re.search(r'(src|href)="(https?:)?//', page) and (project / "data/samples/vega.js").is_file()


@pytest.fixture
def unpacked(project, tmp_path):
    """The project and what it has made as a folder without git, in which everything is installed."""
    folder = shutil.copytree(project, tmp_path / "unpacked", ignore=shutil.ignore_patterns(".git", "tmp"))
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("bin/activate", "installed"):
        (folder / ".venv" / name).touch()
    return folder


def test_demo_runs_in_a_downloaded_zip(unpacked):
    output = run(unpacked, "make", "demo")
    assert stages_run(output) == set() and "fd_efficientnet_lite0" in output and "data/samples/report.html" in output


def test_demo_runs_for_a_user_without_a_name(unpacked):
    rights = "+dac_override,+dac_read_search"  # the tests' files are another user's
    stranger = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", f"--inh-caps={rights}", f"--ambient-caps={rights}"]
    if not shutil.which("setpriv") or subprocess.run([*stranger, "true"], capture_output=True, timeout=60).returncode:
        pytest.skip("only root can become a user without a name")
    unnamed = ["env", *(f"--unset={name}" for name in ("LOGNAME", "USER", "LNAME", "USERNAME"))]
    assert "data/samples/report.html" in run(unpacked, *stranger, *unnamed, "make", "demo")


def count_columns(table: str) -> int:
    """Returns how many columns a table in CSV has."""
    return len(next(csv.reader(io.StringIO(table))))


def test_the_tables_fit_a_screen(project):
    assert count_columns(run(project, "dvc", "exp", "show", "--csv")) <= 95
    rows = [line for line in run(project, "dvc", "metrics", "diff", "--all", "--md").splitlines() if line.startswith("|")][2:]
    assert len(rows) <= 20
    names = [row.split("|")[2].strip() for row in rows if "evaluate.json" in row]  # DVC sorts a file's names, but not the files
    assert names[0] == "fd_efficientnet_lite0"


def read_hashes(lock: str, stage: str) -> dict[str, str]:
    """Returns the hashes of a stage's outputs, except train.json, which contains seconds."""
    return {out["path"]: out["md5"] for out in yaml.safe_load(lock)["stages"][stage]["outs"] if out["path"] != "metrics/train.json"}


def test_longer_run_resumes_from_the_end_of_a_shorter_one(project):
    """In the project, in a temporary copy of it, and after another experiment was checked out; to the bytes of a run that ran through."""

    def train(images: int, *options: str) -> str:
        return run(project, "dvc", "exp", "run", *options, "train", "-S", f"train.images={images}", "-S", "train.seed=3")

    shutil.rmtree(project / ".checkpoints")
    train(800, "-n", "at-once", "--temp")
    shutil.rmtree(project / ".checkpoints")
    train(320)
    run(project, "git", "checkout", "-q", ".")
    run(project, "dvc", "checkout", "-q")  # another experiment's files are in the workspace
    output = train(560, "--temp")
    assert "resumed at 320 of 560 images" in output and stages_run(output) == {"train"}
    # forced, since DVC would take what it has cached for these parameters
    assert "resumed at 560 of 800 images" in train(800, "--force", "-n", "continued", "--single-item")
    names = run(project, "git", "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    places = {name.rsplit("/", 1)[1]: name for name in names}
    locks = [run(project, "git", "show", f"{places[name]}:dvc.lock") for name in ("at-once", "continued")]
    assert read_hashes(locks[0], "train") == read_hashes(locks[1], "train")
    run(project, "git", "checkout", "-q", ".")
    run(project, "dvc", "checkout", "-q")


def test_files_that_do_not_retrain(project):
    for name in ("facegan/studio/page.py", "benchmarks/speed.py", "README.md", "stages/command.py"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        with (project / name).open("a") as file:
            file.write("# touched\n")
    assert "up to date" in run(project, "dvc", "status")
    run(project, "git", "checkout", "-q", ".")


def test_copied_preset_is_used(project):
    shutil.copy(project / "presets/my_faces_laptop.yaml", project / "params.yaml")
    changed = json.loads(run(project, "dvc", "params", "diff", "--json"))["params.yaml"]
    run(project, "git", "checkout", "-q", ".")
    assert changed["model.name"] == {"old": "dcgan", "new": "resnet"} and changed["data.source"]["new"] == "folder"


def test_queued_runs_do_not_repeat_the_download(project):
    run(project, "dvc", "exp", "run", "--queue", "-S", "train.lr=1e-4")
    assert stages_run(run(project, "dvc", "exp", "run", "--run-all")) == {"train", "evaluate", "sample"}
    table = json.loads(run(project, "dvc", "exp", "show", "--json"))
    experiments = [experiment["revs"][0]["data"]["params"] for line in table for experiment in line.get("experiments") or []]
    assert 1e-4 in [params["params.yaml"]["data"]["train"]["lr"] for params in experiments]
    assert "Success" in run(project, "dvc", "queue", "status")


def test_deleted_data_comes_back_from_the_cache_without_training(project):
    shutil.rmtree(project / "data")
    assert stages_run(run(project, "dvc", "repro")) == set()
    shutil.rmtree(project / "data")
    run(project, "dvc", "checkout")
    assert (project / "data/samples/grid.png").is_file()


def hash_outputs(project: Path) -> dict[str, str]:
    """Returns the hashes of all outputs of the stages, except train.json, which contains seconds, and files that only speed up a rerun."""
    files = [path for path in (*project.glob("data/[!.]*/**/*"), *project.glob("metrics/*")) if path.is_file()]
    files = [path for path in files if path.name != "train.json" and path.suffix != ".lock"]
    return {str(path.relative_to(project)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def truncate(path: Path) -> None:
    """Leaves the first half of a file; the file in DVC's cache is not changed."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("damage", [truncate, Path.unlink], ids=["truncated", "missing"])
def test_damaged_or_missing_files_are_restored(project, damage):
    expected = hash_outputs(project)
    for name in expected.keys() - {"metrics/quick_scores.csv"}:  # which is half of itself: a header
        damage(project / name)
    run(project, "dvc", "repro")
    assert hash_outputs(project) == expected


def test_leftovers_and_removed_folders_do_not_matter(project):
    expected = hash_outputs(project)
    for folder in ("data/shards", "data/reference", "data/model", "data/evaluation"):
        shutil.rmtree(project / folder)
    run(project, "dvc", "repro")
    assert hash_outputs(project) == expected
    for leftover in ("data/.model.part/a", "data/.model.old/a", "data/.shards.part/index.json", "metrics/losses.csv.part"):
        (project / leftover).parent.mkdir(exist_ok=True)
        (project / leftover).write_bytes(b"damaged")
    run(project, "dvc", "repro", "--force", "--no-run-cache", "--single-item", "preprocess", "train")
    run(project, "dvc", "repro")
    assert hash_outputs(project) == expected


def leave_leftovers(run_folder: Path) -> None:
    """Leaves what a killed training may leave among its checkpoints, and a damaged note of what the run is."""
    truncate(run_folder / "run.json")
    for name in (".trash-1-2/state.ckpt", f"{run_folder.name}/state.next.ckpt", f"{run_folder.name}/finished/0000000480.part/state.ckpt"):
        (run_folder.parent / name).parent.mkdir(exist_ok=True)
        (run_folder.parent / name).write_bytes(b"damaged")


DAMAGES = {
    "damaged": lambda folder: truncate(folder / "finished/0000000480/state.ckpt"),
    "leftovers": leave_leftovers,
    "removed": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_checkpoints_are_skipped(project, damage):
    run(project, "dvc", "repro")
    expected = hash_outputs(project)
    shutil.rmtree(project / ".checkpoints")  # earlier tests' experiments
    assert run_stage(project, "train").returncode == 0
    [run_json] = project.glob(".checkpoints/*/run.json")
    damage(run_json.parent)
    run(project, "dvc", "repro", "--force", "--no-run-cache", "--single-item", "train")
    # evaluate.json was removed together with the earlier model
    assert hash_outputs(project) | {"metrics/evaluate.json": expected["metrics/evaluate.json"]} == expected
    assert not list(project.glob(".checkpoints/.trash*")) and not list(project.glob(".checkpoints/*/**/*.part"))


def test_failed_training_leaves_no_earlier_score(project):
    run(project, "dvc", "repro")
    expected, text = hash_outputs(project), (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("start_from: null", "start_from: missing_folder"))
    output = run(project, "dvc", "repro", fails=True)
    assert "error: " in output and "missing_folder" in output and "Traceback" not in output
    assert not (project / "metrics/evaluate.json").exists() and not (project / "data/model").exists()
    (project / "params.yaml").write_text(text)
    run(project, "dvc", "repro")
    assert hash_outputs(project) == expected


def test_second_clone_writes_the_same_bytes(project, tmp_path):
    clone = tmp_path / "clone"
    run(tmp_path, "git", "clone", "-q", str(project), str(clone))
    lock = (clone / "dvc.lock").read_text()
    (clone / "dvc.lock").unlink()
    shutil.rmtree(clone / "metrics")
    run(clone, "dvc", "repro")
    for stage in STAGES:
        assert read_hashes(lock, stage) == read_hashes((clone / "dvc.lock").read_text(), stage), stage
