"""``train.start_from``: a run that begins with an earlier run's networks."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SmallRuns

from facegan.common.errors import FaceganError


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The model folder of an earlier run, on other photos."""
    runs = SmallRuns(tmp_path_factory.mktemp("earlier"), count=40)
    runs.train(images=24)
    return runs.folders.model


def test_networks_and_average_are_taken_over_and_the_rest_begins_anew(runs, earlier):
    training, _ = runs.prepare(start_from=str(earlier))
    tensors = training.tensors()
    for role, file in (("generator", "generator"), ("ema", "generator"), ("discriminator", "discriminator")):
        for name, value in load_file(earlier / f"{file}.safetensors").items():
            assert torch.equal(tensors[f"{role}.{name}"], value), (role, name)
    assert not any(value.any() for name, value in tensors.items() if ".optimizer." in name)
    assert training.images_seen == 0


def test_it_changes_the_outcome_and_a_stopped_run_goes_on_to_the_same_bytes(runs, earlier, tmp_path, capsys):
    begun = SmallRuns(tmp_path / "begun")
    whole = runs.train(images=48, start_from=str(earlier))
    begun.train(images=24, start_from=str(earlier))
    assert begun.train(images=48, start_from=str(earlier)) == whole
    assert "resumed at 24" in capsys.readouterr().out
    assert begun.train(images=48)["generator.safetensors"] != whole["generator.safetensors"]


def test_the_files_content_is_part_of_the_run_and_their_place_is_not(runs, earlier, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(earlier, moved)
    key = runs.prepare(start_from=str(earlier))[1].key
    assert runs.prepare(start_from=str(moved))[1].key == key
    shutil.copy(runs_of_another_length(tmp_path), moved / "generator.safetensors")
    assert runs.prepare(start_from=str(moved))[1].key != key
    assert runs.prepare()[1].key != key


def runs_of_another_length(folder):
    other = SmallRuns(folder / "other", count=40)
    other.train(images=8)
    return other.folders.model / "generator.safetensors"


def test_another_architecture_is_told_with_what_would_fit(runs, earlier):
    with pytest.raises(
        FaceganError, match=r"train.start_from: expected a run of this model .* found another; use the values of that run: model.width: 4$"
    ):
        runs.prepare(width=8, start_from=str(earlier))


@pytest.mark.parametrize("missing", ["generator.safetensors", "discriminator.safetensors"])
def test_a_folder_without_both_files_is_told(runs, earlier, tmp_path, missing):
    shutil.copytree(earlier, tmp_path / "part")
    (tmp_path / "part" / missing).unlink()
    with pytest.raises(FaceganError, match=rf"train.start_from: expected the model folder of an earlier run.*; found no .*{missing}"):
        runs.prepare(start_from=str(tmp_path / "part"))


def test_a_generator_in_the_discriminators_place_is_told(runs, earlier, tmp_path):
    shutil.copytree(earlier, tmp_path / "mixed")
    shutil.copy(earlier / "generator.safetensors", tmp_path / "mixed" / "discriminator.safetensors")
    with pytest.raises(FaceganError, match="expected the weights of a dcgan"):
        runs.prepare(start_from=str(tmp_path / "mixed"))
