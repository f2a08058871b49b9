"""The comparison over training seeds: known means and differences, and only missing seeds are trained."""

import json
import subprocess

import pytest

from benchmarks import seeds


def test_table_with_a_difference_and_one_without():
    current = [{"fd": 10.0, "recall": 0.1}, {"fd": 12.0, "recall": 0.2}, {"fd": 14.0, "recall": 0.3}]
    changed = [{"fd": 4.0, "recall": 0.2}, {"fd": 6.0, "recall": 0.2}, {"fd": 8.0, "recall": 0.2}]
    lines = seeds.make_table(current, changed).splitlines()
    assert lines[2] == "| fd | 12 (10 to 14) | 6 (4 to 8) | -6 ± 1.6 |"  # standard error √(4/3 + 4/3)
    assert lines[3] == "| recall | 0.2 (0.1 to 0.3) | 0.2 (0.2 to 0.2) | +0 ± 0.058, no evidence |"


def test_a_score_that_one_side_lacks_is_left_out():
    lines = seeds.make_table([{"fd": 1.0, "label_accuracy": 0.5}] * 2, [{"fd": 2.0}] * 2).splitlines()
    assert len(lines) == 3 and "fd" in lines[2]


def test_table_without_a_change():
    assert seeds.make_table([{"fd": 1.0}, {"fd": 3.0}], []).splitlines()[2] == "| fd | 2 (1 to 3) |"


@pytest.fixture
def project(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "params.yaml").write_text("train: {seed: 0}\n")
    return tmp_path


def add_experiment(project, name, distance):
    """Commits metrics as an experiment of DVC."""
    (project / "metrics").mkdir(exist_ok=True)
    (project / seeds.METRICS).write_text(json.dumps({"fd": distance, "memorised": False, "protocol": "abc"}))
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for arguments in (["add", "."], ["commit", "-q", "-m", name], ["update-ref", f"refs/exps/ab/cdef/{name}", "HEAD"]):
        subprocess.run(["git", *identity, *arguments], cwd=project, check=True)


def test_only_missing_seeds_are_trained(project, monkeypatch):
    parameters, settings, calls = (project / "params.yaml").read_text(), ["train.lr=1e-3"], []
    names = [seeds.name_experiment(settings, parameters, seed) for seed in range(3)]
    add_experiment(project, names[1], 5.0)

    def run_dvc(root, *arguments):
        calls.append(arguments)
        if "--run-all" in arguments:
            add_experiment(root, names[0], 4.0)
            add_experiment(root, names[2], 6.0)

    monkeypatch.setattr(seeds, "run_dvc", run_dvc)
    assert seeds.train_all(project, settings, 3) == [{"fd": 4.0}, {"fd": 5.0}, {"fd": 6.0}]
    queued = [arguments for arguments in calls if "--queue" in arguments]
    assert [arguments[-4:] for arguments in queued] == [("-S", "train.lr=1e-3", "-S", f"train.seed={seed}") for seed in (0, 2)]
    calls.clear()
    assert len(seeds.train_all(project, settings, 3)) == 3 and not calls


def test_failed_seed_is_reported(project, monkeypatch):
    monkeypatch.setattr(seeds, "run_dvc", lambda *arguments: None)
    with pytest.raises(SystemExit, match=r"expected scores of seeds-current-.*found none"):
        seeds.train_all(project, [], 2)
