"""Arbitrary content of params.yaml is read as it would be written, or rejected with readable messages."""

import datetime
import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from strange_values import SIMPLE, TEXTS, VALUES, examples, list_places, spoil

from facegan.common.config import read_values
from facegan.common.errors import FaceganError
from facegan.parameters import Parameters, read_parameters
from presets import PRESETS

DATES = [datetime.date(2020, 2, 29), datetime.datetime(2020, 2, 29, 1, tzinfo=datetime.UTC)]
YAML_ONLY = st.sampled_from([*DATES, b"\x00", {"a", "b"}, {1: 2}, {None: 3}, {(1, 2): 4}])
SECTIONS = st.sampled_from(sorted(PRESETS)).map(PRESETS.get)


def read(read_parameters: Callable[[], Parameters]) -> list[str]:
    """Returns the problems. Asserts that they are readable, or that the parameters can be written as JSON and read back."""
    try:
        parameters = read_parameters()
    except FaceganError as error:
        lines = str(error).split("\n")
        assert all(line.isprintable() for line in lines) and max(map(len, lines)) < 3000
        return getattr(error, "problems", [str(error)])
    assert read_values(Parameters, json.loads(json.dumps(parameters.as_plain())), "itself") == parameters
    return []


@examples(200)
@given(SECTIONS.flatmap(lambda document: spoil(document, VALUES | YAML_ONLY)))
def test_strange_values_are_parameters_or_rejected(values):
    problems = read(lambda: read_values(Parameters, values, "params.yaml"))
    assert problems or values.keys() == PRESETS["demo"].keys()


@examples(100)
@given(SECTIONS.flatmap(lambda document: st.tuples(st.just(document), st.sampled_from(list_places(document)[1:]), SIMPLE | YAML_ONLY)))
def test_one_strange_value_is_reported_by_its_place(drawn):
    document, place, value = drawn
    changed = json.loads(json.dumps(document))
    holder = changed
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = value
    assert all(problem.startswith(place[0]) for problem in read(lambda: read_values(Parameters, changed, "params.yaml")))


@examples(40)
@given(st.binary(max_size=40) | TEXTS.map(lambda text: text.encode(errors="surrogatepass")), st.floats(0, 1), st.booleans())
def test_foreign_bytes_in_a_file_are_read_or_rejected(tmp_path, content, where, cut):
    text = yaml.safe_dump(PRESETS["demo"]).encode()
    place = int(where * len(text))
    (tmp_path / "params.yaml").write_bytes(text[:place] + content + (b"" if cut else text[place:]))
    problems = read(lambda: read_parameters(tmp_path / "params.yaml"))
    assert problems or not cut or place == len(text)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_as_it_is_written(name):
    assert read(lambda: read_values(Parameters, PRESETS[name], name)) == []
