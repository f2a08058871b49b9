"""The benchmark of quality: every model gets the same photos, budget and score, and only its own game."""

import sys

import pytest

from benchmarks.quality import PRESETS, describe, make_params, read_arguments
from facegan.common.config import read_values
from facegan.parameters import Parameters

COMMAND = ["quality.py", "--path", "faces.zip", "--images", "1000", "--resolution", "32", "-S", "train.batch=20", "-S", "model.width=16"]


@pytest.fixture
def read(monkeypatch):
    def read_command(*more):
        monkeypatch.setattr(sys, "argv", [*COMMAND, *more])
        return read_arguments()

    return read_command


def make(arguments, seed=0):
    """Returns the parameters of each preset's run."""
    return [read_values(Parameters, make_params(arguments, preset, seed), preset) for preset in PRESETS]


def test_all_models_get_the_same_but_for_their_game(read):
    runs = make(read(), seed=1)
    for run in runs:
        assert (run.data.source, run.preprocess, run.evaluate) == (runs[0].data.source, runs[0].preprocess, runs[0].evaluate)
        assert (run.train.images, run.train.batch, run.train.seed, run.train.ema_halflife_images) == (1000, 20, 1, 50)
        assert run.train.schedule_images in (1000, None)
    assert len({run.train.objective for run in runs}) == 2
    assert {run.train.penalty for run in runs} == {"r1_r2", "r1", "none"}


def test_the_networks_are_the_presets_own(read):
    runs = make(read())
    assert [run.model.name for run in runs] == ["r3gan", "stylegan2", "dcgan"]
    assert {run.model.width for run in runs} == {16}


def test_a_setting_for_one_preset_leaves_the_others_alone_whatever_the_order(read):
    runs = make(read("-S", "celeba64_r3gan:train.lr=[2e-3, 5e-4]", "-S", "celeba64_r3gan:model.width=32", "-S", "model.width=24"))
    assert [run.model.width for run in runs] == [32, 24, 24]
    assert [run.train.lr for run in runs] == [(2e-3, 5e-4), 2.5e-3, 2e-4]


@pytest.mark.parametrize(
    "setting", ["width=3", "train.lr", "celeba64_r3gan:preprocess.crop=none", "tain.lr=1", "celeba64_r3gan:train.images=9"]
)
def test_unreadable_settings_are_rejected(read, setting, capsys):
    with pytest.raises(SystemExit):
        read("-S", setting)
    assert "expected" in capsys.readouterr().err


def test_a_row_tells_mean_and_range():
    assert describe([1.0, 2.0, 6.0]) == "3.0 (1.0 to 6.0)"
