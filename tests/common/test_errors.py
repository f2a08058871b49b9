"""Messages of errors: one line each, whatever stands in it."""

import pytest
from hypothesis import given
from strange_values import TEXTS, examples

from facegan.common.config import ConfigurationError
from facegan.common.errors import FIRST_CHARACTERS, LAST_CHARACTERS, FaceganError


@examples(50)
@given(TEXTS)
def test_a_message_is_harmless_and_short_whatever_stands_in_it(text):
    message = str(FaceganError(f"expected a photo; found {text}; take another"))
    assert message.startswith("expected a photo; found ") and message.endswith("; take another")
    assert message.isprintable() and len(message) <= FIRST_CHARACTERS + LAST_CHARACTERS + 3
    assert str(FaceganError(message)) == message


@pytest.mark.parametrize("problem", ["a: found \x1b[2J", "a: found \n  b: expected nothing", "a: found " + "9" * 5000])
def test_every_problem_has_a_line_of_its_own(problem):
    lines = str(ConfigurationError("params.yaml", [problem, "c: expected d"])).split("\n")
    assert len(lines) == 3 and lines[0] == "2 problems in params.yaml; nothing was run" and lines[2] == "  c: expected d"
    assert all(line.isprintable() for line in lines)
