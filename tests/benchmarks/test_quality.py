"""The benchmark of quality: every model gets the same photos, budget and score, and only its own game."""

import sys

import pytest

from benchmarks.quality import PRESETS, describe, make_params, read_arguments
from facegan.common import config
from facegan.photos.sources import DataParameters
from facegan.preprocessing.preprocess import PreprocessParameters
from facegan.scoring.protocol import EvaluateParameters
from facegan.training.run import TrainParameters

SECTIONS = {"data": DataParameters, "preprocess": PreprocessParameters, "train": TrainParameters, "evaluate": EvaluateParameters}
COMMAND = ["quality.py", "--path", "faces.zip", "--images", "1000", "--resolution", "32", "-S", "train.batch=20", "-S", "model.width=16"]


@pytest.fixture
def read(monkeypatch):
    def read_command(*more):
        monkeypatch.setattr(sys, "argv", [*COMMAND, *more])
        return read_arguments()

    return read_command


def test_all_models_get_the_same_but_for_their_game(read):
    runs = [config.read_sections(make_params(read(), preset, seed=1), **SECTIONS) for preset in PRESETS]
    for data, preprocess, train, evaluate in runs:
        assert (data.source, preprocess, evaluate) == (runs[0][0].source, runs[0][1], runs[0][3])
        assert (train.images, train.batch, train.seed, train.ema_halflife_images) == (1000, 20, 1, 50)
        assert train.schedule_images in (1000, None)
    assert len({train.objective for _, _, train, _ in runs}) == 2
    assert {train.penalty for _, _, train, _ in runs} == {"r1_r2", "r1", "none"}


def test_the_networks_are_the_presets_own(read):
    models = [config.merge(make_params(read(), preset, seed=0), "model") for preset in PRESETS]
    assert [model["name"] for model in models] == ["r3gan", "stylegan2", "dcgan"]
    assert {model["width"] for model in models} == {16}


def test_a_setting_for_one_preset_leaves_the_others_alone_whatever_the_order(read):
    arguments = read("-S", "celeba64_r3gan:train.lr=[2e-3, 5e-4]", "-S", "celeba64_r3gan:model.width=32", "-S", "model.width=24")
    runs = [make_params(arguments, preset, 0) for preset in PRESETS]
    assert [config.merge(params, "model")["width"] for params in runs] == [32, 24, 24]
    assert [config.read_sections(params, train=TrainParameters)[0].lr for params in runs] == [(2e-3, 5e-4), 2.5e-3, 2e-4]


@pytest.mark.parametrize("setting", ["width=3", "train.lr", "celeba64_r3gan:preprocess.crop=none", "tain.lr=1", "celeba64_r3gan:train.images=9"])
def test_a_setting_that_cannot_be_read_is_told(read, setting, capsys):
    with pytest.raises(SystemExit):
        read("-S", setting)
    assert "expected" in capsys.readouterr().err


def test_a_row_tells_mean_and_range():
    assert describe([1.0, 2.0, 6.0]) == "3.0 (1.0 to 6.0)"
