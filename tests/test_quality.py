"""The benchmark of quality: every model gets the same photos, budget and score, and only its own game."""

import sys

import pytest

from benchmarks.quality import PRESETS, describe, make_params, read_arguments
from facegan import config
from facegan.preprocess import PreprocessParameters
from facegan.protocol import EvaluateParameters
from facegan.sources import DataParameters
from facegan.training import TrainParameters

SECTIONS = {"data": DataParameters, "preprocess": PreprocessParameters, "train": TrainParameters, "evaluate": EvaluateParameters}


@pytest.fixture
def arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["quality.py", "--path", "faces.zip", "--images", "1000", "--batch", "20", "--resolution", "32", "--width", "16"])
    return read_arguments()


def test_all_models_get_the_same_but_for_their_game(arguments):
    runs = [config.read_sections(make_params(arguments, preset, seed=1), **SECTIONS) for preset in PRESETS]
    for data, preprocess, train, evaluate in runs:
        assert (data.source, preprocess, evaluate) == (runs[0][0].source, runs[0][1], runs[0][3])
        assert (train.images, train.batch, train.seed, train.ema_halflife_images) == (1000, 20, 1, 50)
        assert train.schedule_images in (1000, None)
    assert len({train.objective for _, _, train, _ in runs}) == 2
    assert {train.penalty for _, _, train, _ in runs} == {"r1_r2", "r1", "none"}


def test_the_networks_are_the_presets_own(arguments):
    models = [config.merge(make_params(arguments, preset, seed=0), "model") for preset in PRESETS]
    assert [model["name"] for model in models] == ["r3gan", "stylegan2", "dcgan"]
    assert {model["width"] for model in models} == {16}
    arguments.width = []
    assert config.merge(make_params(arguments, PRESETS[0], 0), "model")["width"] == 384
    arguments.width = ["16", "celeba64_r3gan=32"]
    assert [config.merge(make_params(arguments, preset, 0), "model")["width"] for preset in PRESETS] == [32, 16, 16]


def test_a_learning_rate_is_the_presets_own_unless_told(arguments):
    arguments.lr = ["celeba64_r3gan=[2e-3, 5e-4]"]
    rates = [config.read_sections(make_params(arguments, preset, 0), train=TrainParameters)[0].lr for preset in PRESETS]
    assert rates == [(2e-3, 5e-4), 2.5e-3, 2e-4]


def test_a_row_tells_mean_and_range():
    assert describe([1.0, 2.0, 6.0]) == "3.0 (1.0 to 6.0)"
