"""Whatever stands in params.yaml: it is read, or told in words; and what was read is what is written."""

import datetime
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strange_values import SIMPLE, TEXTS, VALUES, examples, list_places, spoil

from facegan.common.config import ConfigurationError, read_values
from facegan.common.errors import FaceganError
from facegan.parameters import Parameters, read_parameters
from presets import PRESETS

DATES = [datetime.date(2020, 2, 29), datetime.datetime(2020, 2, 29, 1, tzinfo=datetime.UTC)]
YAML_ONLY = st.sampled_from([*DATES, b"\x00", {"a", "b"}, {1: 2}, {None: 3}, {(1, 2): 4}])
SECTIONS = st.sampled_from(sorted(PRESETS)).map(PRESETS.get)
STRANGE = SECTIONS.flatmap(lambda document: spoil(document, VALUES | YAML_ONLY))


def check_told(error: FaceganError) -> None:
    """Fails where a message would do something to a terminal, or is too long to read."""
    assert all(line.isprintable() for line in str(error).split("\n"))
    assert max(map(len, str(error).split("\n"))) < 3000


def check_plain(parameters: Parameters) -> None:
    """Fails unless the parameters can be written as JSON and read back."""
    assert read_values(Parameters, json.loads(json.dumps(parameters.as_plain())), "itself") == parameters


@examples(200)
@given(STRANGE)
def test_strange_values_are_parameters_or_told(values):
    try:
        check_plain(read_values(Parameters, values, "params.yaml"))
    except ConfigurationError as error:
        assert error.problems
        check_told(error)


@examples(100)
@given(SECTIONS.flatmap(lambda document: st.tuples(st.just(document), st.sampled_from(list_places(document)[1:]), SIMPLE | YAML_ONLY)))
def test_one_strange_value_is_told_by_its_place(drawn):
    document, place, value = drawn
    changed = json.loads(json.dumps(document))
    holder = changed
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    try:
        check_plain(read_values(Parameters, changed, "params.yaml"))
    except ConfigurationError as error:
        check_told(error)
        assert all(problem.startswith(f"{place[0]}") for problem in error.problems)


@examples(25)
@given(STRANGE)
def test_a_strange_file_is_parameters_or_told(tmp_path, values):
    path = tmp_path / "params.yaml"
    try:
        text = yaml.dump(values, allow_unicode=True, Dumper=yaml.SafeDumper)
    except yaml.representer.RepresenterError:
        text = repr(values)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        check_plain(read_parameters(path))
    except FaceganError as error:
        check_told(error)


@examples(40)
@given(st.binary(max_size=40) | TEXTS.map(lambda text: text.encode(errors="surrogatepass")), st.floats(0, 1), st.booleans())
def test_foreign_bytes_in_a_file_are_read_or_told(tmp_path, content, where, cut):
    text = yaml.safe_dump(PRESETS["demo"]).encode()
    place = int(where * len(text))
    (tmp_path / "params.yaml").write_bytes(text[:place] + content + (b"" if cut else text[place:]))
    try:
        check_plain(read_parameters(tmp_path / "params.yaml"))
    except FaceganError as error:
        check_told(error)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_as_it_is_written(name):
    check_plain(read_values(Parameters, PRESETS[name], name))
