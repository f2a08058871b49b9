"""Files of different runs next to each other are noted."""

import pytest
from small_generators import make_card, save_small_generator

from facegan.common.files import write_json, write_sealed_json
from facegan.models.provenance import compare_with_project

PARAMETERS = {"model": {"name": "dcgan", "width": 4}, "train": {"lr": 0.002, "images": 1000, "start_from": None}}
TRAINING = {"images_seen": 1000, "parameters": {"model": PARAMETERS["model"], "train": {"lr": 0.002, "images": 1000}}}


@pytest.fixture
def project(tmp_path):
    save_small_generator(tmp_path / "model/generator.safetensors")
    write_sealed_json(tmp_path / "model/training.json", TRAINING)
    write_json(tmp_path / "metrics/train.json", {"images_seen": 1000})
    return tmp_path


def compare(project):
    return compare_with_project(project / "model/generator.safetensors", make_card(), PARAMETERS, project / "metrics")


@pytest.mark.parametrize("missing", ["nothing", "metrics/train.json", "model/training.json"])
def test_files_of_one_run_need_no_note(project, missing):
    (project / missing).unlink(missing_ok=True)
    assert compare(project) == []


def test_metrics_of_another_run_are_noted(project):
    write_json(project / "metrics/train.json", {"images_seen": 36_000})
    (note,) = compare(project)
    assert "train.json is from another run, of 36000 images" in note


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"parameters": {"train": {"lr": 0.1, "images": 1504}}}, "train.lr: 0.1 there, 0.002 now; train.images: 1504 there, 1000 now"),
        ({"images_seen": 5}, "training.json is from another run"),
    ],
)
def test_other_parameters_are_noted(project, changes, problem):
    write_sealed_json(project / "model/training.json", TRAINING | changes)
    (note,) = compare(project)
    assert problem in note
