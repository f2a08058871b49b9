"""Parameters: every problem at once, in words; nothing guessed."""

import copy
import dataclasses
from typing import Annotated, Literal

import pytest
import yaml
from import_closure import ROOT

from facegan.common import config
from facegan.common.config import Above, AtLeast, Between, ConfigurationError
from facegan.models.registry import read_model
from facegan.photos.sources import DataParameters
from facegan.preprocessing.preprocess import PreprocessParameters
from facegan.sampling.drawing import SampleParameters
from facegan.scoring.evaluate import EvaluateParameters
from facegan.training.run import TrainParameters

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SECTIONS = {
    "data": DataParameters,
    "preprocess": PreprocessParameters,
    "train": TrainParameters,
    "sample": SampleParameters,
    "evaluate": EvaluateParameters,
}


@dataclasses.dataclass(frozen=True)
class Example:
    rate: Annotated[float, Above(0)]
    count: Annotated[int, AtLeast(1)] | None
    share: Annotated[float, Between(0, 1)]
    crop: Literal["none", "square"] | tuple[int, int, int, int]
    flag: bool


GOOD = {"rate": 0.1, "count": 3, "share": 0, "crop": "none", "flag": True}


def read(**changes):
    problems = []
    return config.read_dataclass(Example, {**GOOD, **changes}, "train", problems), problems


def test_good_values_become_a_frozen_dataclass():
    result, problems = read(crop=[0, 15, 178, 193], count=None)
    assert problems == []
    assert result == Example(0.1, None, 0.0, (0, 15, 178, 193), True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.rate = 1.0


@pytest.mark.parametrize("text", ["2e-4", "1E-3", ".5"])
def test_a_number_that_yaml_reads_as_text_is_a_number(text):
    assert read(rate=text)[0].rate == float(text)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("rate", 0, "a number above 0"),
        ("rate", "fast", "a number above 0"),
        ("rate", float("nan"), "a number above 0"),
        ("rate", True, "a number above 0"),
        ("count", 2.5, "a whole number at least 1 or null"),
        ("count", True, "a whole number at least 1 or null"),
        ("share", 1.01, "a number from 0 to 1"),
        ("crop", "round", "none or square or [a whole number"),
        ("crop", [1, 2, 3], "none or square or [a whole number"),
        ("flag", 1, "true or false"),
    ],
)
def test_a_bad_value_is_told_with_what_was_expected_and_found(key, value, expected):
    result, (problem,) = read(**{key: value})
    assert result is None
    assert problem.startswith(f"train.{key}: expected {expected}")
    assert problem.endswith(f"found {value!r}")


def test_all_problems_are_told_at_once():
    params = copy.deepcopy(PARAMS)
    params["train"] |= {"lr": -1, "bacth": 3}
    params["sampel"] = {}
    del params["presets"]["demo"]["train"]["seed"]
    with pytest.raises(ConfigurationError) as error:
        config.read_sections(params, train=TrainParameters)
    text = str(error.value)
    assert len(error.value.problems) == 4
    for part in ("train.lr: expected", "train.bacth: expected", "did you mean batch?", "did you mean sample?", "train.seed: expected"):
        assert part in text


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ConfigurationError, match=r"expected one of demo, .*found 'demi'; did you mean demo\?"):
        config.read_sections({**PARAMS, "preset": "demi"}, train=TrainParameters)


def test_overrides_win_and_null_leaves_the_preset():
    params = {**copy.deepcopy(PARAMS), "preset": "demo"}
    params["train"] |= {"lr": 5e-4, "batch": None}
    (train,) = config.read_sections(params, train=TrainParameters)
    assert train.lr == 5e-4
    assert train.batch == PARAMS["presets"]["demo"]["train"]["batch"]


@pytest.mark.parametrize("preset", PARAMS["presets"])
def test_every_preset_is_complete_and_sound(preset):
    params = {**PARAMS, "preset": preset}
    assert len(config.read_sections(params, **SECTIONS)) == len(SECTIONS)
    ((_, arguments),) = config.read_sections(params, model=read_model)
    assert dataclasses.is_dataclass(arguments)
    assert set(params["presets"][preset]) == set(config.SECTIONS)


@pytest.mark.parametrize("section", config.SECTIONS)
def test_overrides_can_name_only_what_presets_have(section):
    in_presets = set().union(*(preset[section] for preset in PARAMS["presets"].values()))
    assert set(PARAMS[section]) <= in_presets
    assert all(value is None for value in PARAMS[section].values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": [2e-4, 5e-5]}, "train.lr: expected one number, or schedule_images"),
        ({"batch": 9, "processes": 2}, "train.batch: expected a multiple of processes (2); found 9"),
        ({"gamma": 1.0}, "train.gamma: expected 0 without a penalty"),
        ({"augment": "colour"}, "train.augment: expected"),
    ],
)
def test_fields_that_do_not_fit_together_are_told(changes, message):
    params = {**copy.deepcopy(PARAMS), "preset": "demo"}
    params["presets"]["demo"]["train"] |= {**changes}
    with pytest.raises(ConfigurationError) as error:
        config.read_sections(params, train=TrainParameters)
    assert message in str(error.value)


def test_a_model_takes_its_own_arguments_only():
    params = {**copy.deepcopy(PARAMS), "preset": "demo"}
    params["presets"]["demo"]["model"] = {"name": "dcgan", "width": 0, "depth": 3}
    params["train"]["lr"] = -1
    with pytest.raises(ConfigurationError) as error:
        config.read_sections(params, model=read_model, train=TrainParameters)
    assert len(error.value.problems) == 5  # a bad width, an unknown depth, two missing, and the other section's rate
    params["presets"]["demo"]["model"]["name"] = "dcgna"
    with pytest.raises(ConfigurationError, match=r"did you mean dcgan\?"):
        config.read_sections(params, model=read_model)


def test_an_unknown_key_of_another_stage_is_told_before_the_hours_are_spent():
    params = {**copy.deepcopy(PARAMS), "preset": "demo"}
    params["evaluate"] |= {"image": 50}
    with pytest.raises(ConfigurationError, match=r"evaluate\.image: expected one of .*; did you mean images\?"):
        config.read_sections(params, train=TrainParameters)
