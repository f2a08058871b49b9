"""``train.start_from``: a run that starts with the networks of an earlier run."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from small_runs import SmallRuns

from facegan.common.errors import FaceganError


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The model folder of an earlier run on other photos."""
    runs = SmallRuns(tmp_path_factory.mktemp("earlier"), count=40)
    runs.train(images=24)
    return runs.folders.model


def test_networks_and_ema_are_loaded_and_optimizers_start_from_zero(runs, earlier):
    trainer, _ = runs.prepare(start_from=str(earlier))
    tensors = trainer.tensors()
    for role, file in (("generator", "generator"), ("ema", "generator"), ("discriminator", "discriminator")):
        for name, value in load_file(earlier / f"{file}.safetensors").items():
            assert torch.equal(tensors[f"{role}.{name}"], value), (role, name)
    assert not any(value.any() for name, value in tensors.items() if ".optimizer." in name)
    assert trainer.images_seen == 0


def test_longer_run_resumes_and_the_start_changes_the_result(runs, earlier, tmp_path, capsys):
    resumed = SmallRuns(tmp_path / "resumed")
    reference = runs.train(images=48, start_from=str(earlier))
    resumed.train(images=24, start_from=str(earlier))
    assert resumed.train(images=48, start_from=str(earlier)) == reference
    assert "resumed at 24" in capsys.readouterr().out
    assert resumed.train(images=48)["generator.safetensors"] != reference["generator.safetensors"]


def test_run_depends_on_the_content_of_the_files_not_on_their_path(runs, earlier, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(earlier, moved)
    key = runs.prepare(start_from=str(earlier))[1].key
    assert runs.prepare(start_from=str(moved))[1].key == key
    other = SmallRuns(tmp_path / "other", count=40)
    other.train(images=8)
    shutil.copy(other.folders.model / "generator.safetensors", moved)
    assert runs.prepare(start_from=str(moved))[1].key != key
    assert runs.prepare()[1].key != key


def test_other_architecture_is_reported_with_the_value_that_fits(runs, earlier):
    with pytest.raises(FaceganError, match=r"train\.start_from: expected a run of this model .*model\.width: 4$"):
        runs.prepare(width=8, start_from=str(earlier))


@pytest.mark.parametrize("missing", ["generator.safetensors", "discriminator.safetensors"])
def test_missing_file_is_reported(runs, earlier, tmp_path, missing):
    folder = shutil.copytree(earlier, tmp_path / "part", ignore=shutil.ignore_patterns(missing))
    with pytest.raises(FaceganError, match=rf"train.start_from: expected the model folder of an earlier run.*; found no .*{missing}"):
        runs.prepare(start_from=str(folder))


def test_generator_instead_of_the_discriminator_is_reported(runs, earlier, tmp_path):
    folder = shutil.copytree(earlier, tmp_path / "mixed")
    shutil.copy(earlier / "generator.safetensors", folder / "discriminator.safetensors")
    with pytest.raises(FaceganError, match="expected the weights of a dcgan"):
        runs.prepare(start_from=str(folder))
