"""Parameters: all problems in one message, and nothing guessed."""

import re
from typing import Annotated, Literal, get_args

import pytest
import yaml
from annotated_types import Ge, Gt, Le
from import_closure import ROOT
from projects import copy_project, run_stage
from pydantic import Strict, ValidationError

from facegan.common.config import ConfigurationError, Number, Section, WholeNumber, read_values, read_yaml
from facegan.common.errors import FaceganError
from facegan.parameters import Parameters, read_parameters
from facegan.scoring.extractors import EXTRACTORS
from facegan.scoring.parameters import ExtractorName
from facegan.training.losses import OBJECTIVES
from facegan.training.parameters import TrainParameters
from presets import PRESETS, change, read_preset


class Example(Section):
    rate: Annotated[Number, Gt(0)]
    count: Annotated[WholeNumber, Ge(1)] | None
    share: Annotated[Number, Ge(0), Le(1)]
    crop: Literal["none", "square"] | Annotated[tuple[WholeNumber, WholeNumber], Strict(False)]
    flag: bool

    def problems(self):
        if self.flag and self.share == 1:
            yield "share: expected less than 1 with a flag; found 1"
            yield "flag: expected false with a share of 1; found true"


GOOD = {"rate": 0.1, "count": 3, "share": 0, "crop": "none", "flag": True}


def read(**changes):
    return read_values(Example, {**GOOD, **changes}, "params.yaml")


def read_text(folder, text):
    (folder / "params.yaml").write_text(text)
    return read_yaml(folder / "params.yaml")


def refuse(**changes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(**changes)
    return caught.value.problems


def test_good_values_become_a_frozen_model():
    result = read(crop=[15, 178], count=None)
    assert (result.rate, result.count, result.share, result.crop, result.flag) == (0.1, None, 0.0, (15, 178), True)
    with pytest.raises(ValidationError):
        result.rate = 1.0


NUMBERS = {"rate: 2e-4": 2e-4, "rate: 1E-3": 1e-3, "rate: .5": 0.5, "rate: 7": 7.0, "count: 1e5": 100_000, "count: 1.0e+5": 100_000}


@pytest.mark.parametrize(("text", "value"), NUMBERS.items(), ids=NUMBERS)
def test_numbers_are_read_as_yaml_1_2_defines_them(tmp_path, text, value):
    assert getattr(read(**read_text(tmp_path, text)), text.split(":")[0]) == value


@pytest.mark.parametrize("text", ["count: 010", "flag: yes", "flag: off", "count: 1:0", "count: 1_000", "count: 0x1F", "count: 2020-01-01"])
def test_what_yaml_1_1_and_1_2_read_differently_is_refused(tmp_path, text):
    assert len(refuse(**read_text(tmp_path, text))) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\na: 2", "the key a twice"),
        ("a: {b: 1, b: 2}", "the key b twice"),
        ("null: 2", "not a name"),
        ("a: !!int", "a tag"),
        ("a: &x 1\nb: *x", "an alias"),
    ],
)
def test_repeated_keys_and_aliases_are_refused(tmp_path, text, found):
    with pytest.raises(FaceganError, match=found):
        read_text(tmp_path, text)


@pytest.mark.parametrize("text", ["x: " + "[" * 90_000, "{" * 3_000, "#" * 2_000_000])
def test_files_that_would_take_minutes_are_refused(tmp_path, text):
    with pytest.raises(FaceganError, match="expected parameters of at most"):
        read_text(tmp_path, text)


def test_thousands_of_problems_are_counted_and_a_few_are_listed():
    with pytest.raises(ConfigurationError) as caught:
        read_values(Example, {f"key{number}": 1 for number in range(2_000)}, "params.yaml")
    message = str(caught.value)
    assert message.startswith("2,005 problems") and message.endswith("and 1,985 more") and message.count("\n") < 30


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"share": 1}, "share: expected less than 1 with a flag; found 1\nflag: expected false with a share of 1; found true"),
        ({"rate": "fast"}, "rate: expected a valid number; found 'fast'"),
        ({"rate": float("inf")}, "rate: expected a finite number; found inf"),
        ({"rate": True}, "rate: expected a valid number; found True"),
        ({"rate": -1}, "rate: expected greater than 0; found -1"),
        ({"rate": None}, "rate: expected a valid number; found null"),
        ({"count": 1.5}, "count: expected a valid integer; found 1.5"),
        ({"count": 0}, "count: expected greater than or equal to 1; found 0"),
        ({"crop": "middle"}, "crop: expected 'none' or 'square' or a list; found 'middle'"),
        ({"crop": [1, 2, 3]}, "crop: expected 'none' or 'square' or a list of 2; found [1, 2, 3]"),
        ({"flag": 1}, "flag: expected true or false; found 1"),
        ({"cuont": 1}, "cuont: expected one of rate, count, share, crop, flag; found an unknown key; did you mean count?"),
        ({"rate": "\x1b[31mred"}, "rate: expected a valid number; found '\\x1b[31mred'"),
    ],
)
def test_wrong_values_are_reported_with_what_was_found(changes, problem):
    assert refuse(**changes) == problem.split("\n")


def test_problems_of_all_sections_are_reported_together():
    wrong = {"data": {"count": 0}, "model": {"widht": 3}, "train": {"lr": "fast"}, "evaluate": {"extractor": "inceptoin"}}
    values = change("celeba64_dcgan", **wrong)
    del values["sample"]["seed"]
    with pytest.raises(ConfigurationError) as caught:
        read_values(Parameters, values, "params.yaml")
    reported = "\n".join(caught.value.problems)
    for problem in (
        "data.count: expected greater than or equal to 1; found 0",
        "model.widht: expected one of name, width, latent_size, discriminator_norm; found an unknown key; did you mean width?",
        "train.lr: expected a valid number or a list; found 'fast'",
        "sample.seed: expected a value; found nothing; add it",
        "evaluate.extractor: expected 'inception', ",
        "found 'inceptoin'; did you mean inception?",
    ):
        assert problem in reported


def test_wgan_gp_needs_all_images():
    between = {"objective": "wasserstein", "penalty": "wgan_gp"}
    with pytest.raises(ConfigurationError, match=r"train.penalty_stride: expected 1 with wgan_gp, .*; found 4"):
        read_preset("demo", train=between)
    assert read_preset("demo", train=between | {"penalty_stride": 1}).train.penalty == "wgan_gp"


def test_a_source_needs_its_path():
    with pytest.raises(ConfigurationError, match=r"data\.path: expected .*; found null; set data\.path"):
        read_preset("celeba64_dcgan", data={"path": None})


def test_an_unknown_model_is_reported():
    with pytest.raises(ConfigurationError, match=r"model.name: expected 'dcgan', .*; found 'stylegan3'; did you mean stylegan2?"):
        read_preset("demo", model={"name": "stylegan3"})


@pytest.mark.parametrize(
    ("section", "key", "value", "problem"),
    [
        ("train", "batch", 10**9, "less than or equal to 65536"),
        ("data", "path", "a\0b", "found one with a zero byte in it"),
        ("evaluate", "weights", "a\0b", "found one with a zero byte in it"),
        ("train", "start_from", "a\0b", "found one with a zero byte in it"),
        ("train", "start_from", "a\ud800b", "found 'a\\ud800b'"),
    ],
)
def test_impossible_numbers_and_paths_are_reported(section, key, value, problem):
    with pytest.raises(ConfigurationError, match=rf"{section}\.{key}: expected .*{re.escape(problem)}"):
        read_preset("demo", **{section: {key: value}})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "found nothing"),
        (b"- a\n- b\n", "found a list"),
        (b"42\n", "found a single value"),
        (b"data: [1,\n", "expected YAML"),
        (b"\xff\xfed\x00a\x00", "expected text in UTF-8"),
        (b"\x00\x01\x02", "expected YAML"),
        (b"[" * 400, "expected YAML"),
        (b"data: {}\n", "problems in .*params.yaml"),
        (b"data: 7\n", "data: expected keys and values; found 7"),
    ],
    ids=["empty", "list", "scalar", "truncated", "utf16", "binary", "deep", "missing", "no section"],
)
def test_a_file_without_parameters_is_reported(tmp_path, content, found):
    (tmp_path / "params.yaml").write_bytes(content)
    with pytest.raises(FaceganError, match=found):
        read_parameters(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_complete_params_file(name):
    assert read_preset(name)
    demo = PRESETS["demo"]
    assert list(PRESETS[name]) == list(demo)
    for section in demo:
        if section != "model":
            assert list(PRESETS[name][section]) == list(demo[section])
    text = (ROOT / "presets" / f"{name}.yaml").read_text()
    assert text.startswith("# ") and "_" not in "".join(filter(str.isdigit, text))


def test_params_yaml_is_the_demo():
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "presets" / "demo.yaml").read_bytes()


def test_the_readmes_first_experiment_changes_something():
    assert read_preset("demo").train.lr != 2e-4


def test_parameters_accept_the_names_that_the_code_knows():
    assert set(get_args(ExtractorName)) == set(EXTRACTORS)
    assert set(get_args(TrainParameters.model_fields["objective"].annotation)) == set(OBJECTIVES)


def test_a_stage_runs_in_a_locale_that_is_not_utf8(tmp_path):
    project = copy_project(tmp_path)
    text = "# Größe\n" + (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("path: null", "path: bücher"), encoding="utf-8")
    result = run_stage(project, "preprocess", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert result.returncode == 1 and "run the download stage again" in result.stderr


def test_every_stage_checks_all_sections(tmp_path):
    project = copy_project(tmp_path)
    params = read_yaml(project / "params.yaml")
    params["sample"]["truncation"] = -1
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    result = run_stage(project, "download")
    assert result.returncode == 1 and "Traceback" not in result.stderr and not (project / "data").exists()
    assert "sample.truncation: expected greater than 0; found -1" in result.stderr


def test_a_resolution_that_the_model_does_not_support_is_reported_by_every_stage(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(change("demo", preprocess={"resolution": 63})))
    with pytest.raises(ConfigurationError, match=r"preprocess\.resolution: expected 32, 64, 128 or 256 for resnet; found 63"):
        read_parameters(path)
