"""Parameters: every problem at once, in words; nothing guessed."""

from typing import Annotated, Literal, get_args

import pytest
import yaml
from annotated_types import Ge, Gt, Le
from import_closure import ROOT
from projects import copy_project, run_stage
from pydantic import Strict, ValidationError

from facegan.common.config import ConfigurationError, Number, Section, WholeNumber, read_values
from facegan.parameters import Parameters
from facegan.scoring.extractors import EXTRACTORS
from facegan.scoring.parameters import ExtractorName
from facegan.training.augmentation import AUGMENTATIONS
from facegan.training.losses import OBJECTIVES
from facegan.training.parameters import AUGMENTATIONS, TrainParameters
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


def refuse(**changes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(**changes)
    return caught.value.problems


def test_good_values_become_a_frozen_model():
    result = read(crop=[15, 178], count=None)
    assert (result.rate, result.count, result.share, result.crop, result.flag) == (0.1, None, 0.0, (15, 178), True)
    with pytest.raises(ValidationError):
        result.rate = 1.0


@pytest.mark.parametrize("text", ["2e-4", "1E-3", ".5"])
def test_a_number_that_yaml_reads_as_text_is_a_number(text):
    assert read(rate=text).rate == float(text)


@pytest.mark.parametrize("value", ["1e5", 1e5, 100_000, "100000"])
def test_a_whole_number_may_be_written_as_people_write_it(value):
    assert read(count=value).count == 100_000


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rate": "fast"}, "rate: expected a number; found 'fast'"),
        ({"rate": "nan"}, "rate: expected a number; found 'nan'"),
        ({"rate": float("inf")}, "rate: expected a finite number; found inf"),
        ({"rate": True}, "rate: expected a number; found True"),
        ({"rate": -1}, "rate: expected a number above 0; found -1"),
        ({"rate": None}, "rate: expected a number; found null"),
        ({"count": 1.5}, "count: expected a whole number; found 1.5"),
        ({"count": 0}, "count: expected a number of at least 1; found 0"),
        ({"share": 1.1}, "share: expected a number of at most 1; found 1.1"),
        ({"crop": "middle"}, "crop: expected none or square or a list; found 'middle'"),
        ({"crop": [1, 2, 3]}, "crop: expected none or square or a list of 2; found [1, 2, 3]"),
        ({"flag": 1}, "flag: expected true or false; found 1"),
        ({"flag": "yes"}, "flag: expected true or false; found 'yes'"),
        ({"cuont": 1}, "cuont: expected one of rate, count, share, crop, flag; found an unknown key; did you mean count?"),
        ({"rate": "\x1b[31mred"}, "rate: expected a number; found '\\x1b[31mred'"),
    ],
)
def test_what_does_not_fit_is_told(changes, problem):
    assert refuse(**changes) == [problem]


def test_a_missing_key_is_told():
    with pytest.raises(ConfigurationError) as caught:
        read_values(Example, {key: value for key, value in GOOD.items() if key != "rate"}, "params.yaml")
    assert caught.value.problems == ["rate: expected a value; found nothing; add it"]


def test_fields_that_do_not_go_together_are_told_all():
    assert refuse(share=1) == ["share: expected less than 1 with a flag; found 1", "flag: expected false with a share of 1; found true"]


def test_all_problems_of_all_sections_are_told_at_once():
    values = change(
        "celeba64_dcgan",
        data={"count": 0},
        model={"widht": 3},
        train={"lr": "fast", "augment": "colour"},
        evaluate={"extractor": "inceptoin"},
    )
    del values["sample"]["seed"]
    with pytest.raises(ConfigurationError) as caught:
        read_values(Parameters, values, "params.yaml")
    told = "\n".join(caught.value.problems)
    for problem in (
        "data.count: expected a number of at least 1; found 0",
        "model.widht: expected one of name, width, latent_size, discriminator_norm; found an unknown key; did you mean width?",
        "train.lr: expected a number or a list; found 'fast'",
        "sample.seed: expected a value; found nothing; add it",
        "evaluate.extractor: expected inception, ",
        "found 'inceptoin'; did you mean inception?",
    ):
        assert problem in told


def test_a_penalty_between_images_is_taken_on_all_of_them():
    between = {"objective": "wasserstein", "penalty": "wgan_gp"}
    with pytest.raises(ConfigurationError, match=r"train.penalty_stride: expected 1 with wgan_gp, .*; found 4"):
        read_preset("demo", train=between)
    assert read_preset("demo", train=between | {"penalty_stride": 1}).train.penalty == "wgan_gp"


def test_an_unknown_model_is_told():
    with pytest.raises(ConfigurationError, match=r"model.name: expected dcgan, .*; found 'stylegan3'; did you mean stylegan2?"):
        read_preset("demo", model={"name": "stylegan3"})


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("model", "width", 10_000_000, "of at most 16384"),
        ("model", "latent_size", 3_000_000, "of at most 16384"),
        ("train", "batch", 10**9, "of at most 65536"),
        ("train", "processes", 10**9, "of at most 1024"),
        ("train", "seed", 2**70, "below 9223372036854775808"),
        ("sample", "seed", 2**70, "below 9223372036854775808"),
        ("sample", "count", 10**12, "of at most 1000000"),
        ("evaluate", "images", 10**12, "of at most 1000000"),
        ("data", "count", 10**12, "of at most 1000000"),
        ("preprocess", "resolution", 10**6, "of at most 512"),
        ("data", "path", "a\0b", "found one with a zero byte in it"),
        ("evaluate", "weights", "a\0b", "found one with a zero byte in it"),
        ("train", "start_from", "a\0b", "found one with a zero byte in it"),
        ("train", "start_from", "a\ud800b", "expected a text of whole characters; found"),
    ],
)
def test_what_no_machine_has_is_told_before_anything_is_done(section, key, value, told):
    with pytest.raises(ConfigurationError) as caught:
        read_preset("demo", **{section: {key: value}})
    [problem] = caught.value.problems
    assert problem.startswith(f"{section}.{key}: expected ") and told in problem


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_whole_params_file(name):
    assert read_preset(name)
    demo = PRESETS["demo"]
    assert list(PRESETS[name]) == list(demo)
    for section in demo:
        if section != "model":
            assert list(PRESETS[name][section]) == list(demo[section])
    text = (ROOT / "presets" / f"{name}.yaml").read_text()
    assert text.startswith("# ") and "_" not in "".join(filter(str.isdigit, text))


def test_the_parameters_in_use_are_the_demos():
    assert (ROOT / "params.yaml").read_bytes() == (ROOT / "presets" / "demo.yaml").read_bytes()


def test_the_readmes_first_line_changes_something():
    assert PRESETS["demo"]["train"]["lr"] != 2e-4 and read_preset("demo").train.lr != 2e-4


def test_names_are_those_that_the_code_knows():
    assert set(get_args(ExtractorName)) == set(EXTRACTORS)
    assert set(AUGMENTATIONS) == set(AUGMENTATIONS)
    assert set(get_args(TrainParameters.model_fields["objective"].annotation)) == set(OBJECTIVES)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "found nothing"),
        (b"- a\n- b\n", "found a list"),
        (b"42\n", "found a single value"),
        (b"data: [1,\n", "expected YAML"),
        (b"\xff\xfed\x00a\x00", "expected a text in UTF-8"),
        (b"\x00\x01\x02", "expected YAML"),
        (b"[" * 1500, "expected YAML"),
        (b"a: &a [x]\nb: *a\n", "expected every value written out"),
        (b"data: 2020-99-99\n", "expected YAML"),
        (b"data: {}\n", "problems in params.yaml"),
        (b"data: 7\n", "data: expected keys and values; found 7"),
        (b"#" * 2_000_000, "at most 1,000,000 bytes"),
    ],
    ids=["empty", "list", "scalar", "torn", "utf16", "binary", "deep", "alias", "date", "missing", "no section", "large"],
)
def test_a_file_that_is_none_is_told_without_a_traceback(tmp_path, content, told):
    project = copy_project(tmp_path)
    (project / "params.yaml").write_bytes(content)
    result = run_stage(project, "download")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert told in result.stderr
    assert not (project / "data").exists()


def test_a_stage_runs_in_a_locale_that_is_not_utf8(tmp_path):
    project = copy_project(tmp_path)
    text = "# Größe\n" + (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("path: null", "path: bücher"), encoding="utf-8")
    result = run_stage(project, "preprocess", LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    assert result.returncode == 1 and "run the download stage again" in result.stderr


def test_a_wrong_number_of_a_later_stage_is_told_by_the_first(tmp_path):
    project = copy_project(tmp_path)
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["sample"]["truncation"] = -1
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    result = run_stage(project, "download")
    assert result.returncode == 1 and "sample.truncation: expected a number above 0; found -1" in result.stderr
