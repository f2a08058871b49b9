"""From params.yaml to frozen pydantic models, with every problem told at once and in words.

In: the path of a YAML file, and the model that says what it holds. Out: that model. Each package has its own section's model in a
module ``parameters``, free of heavy imports; ``facegan.parameters`` puts them together.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from annotated_types import Ge, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, ValidationError, model_validator
from pydantic_core import ErrorDetails

from facegan.common.errors import FaceganError, printable

LARGEST_FILE_BYTES = 1_000_000  # of parameters; what is larger is no such file
LONGEST_VALUE = 200  # characters of a value in a message


def read_number(value: Any) -> Any:
    """Returns a text such as ``2e-4`` as the number that it is: YAML 1.1 takes it for a text, for want of a point."""
    if isinstance(value, str) and value[:1] in "+-.0123456789":
        try:
            return float(value)
        except ValueError:
            return value
    return value


def read_whole_number(value: Any) -> Any:
    """Returns ``1e5`` and ``100000.0`` as the whole number that they are."""
    number = read_number(value)
    return int(number) if isinstance(number, float) and math.isfinite(number) and number.is_integer() else number


Number = Annotated[FiniteFloat, BeforeValidator(read_number)]
WholeNumber = Annotated[int, BeforeValidator(read_whole_number)]
Seed = Annotated[WholeNumber, Ge(0), Lt(2**63)]


class Section(BaseModel):
    """A part of the parameters: frozen, without unknown keys, and of exact types (no text for a number, no number for a bool)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="after")
    def _check_together(self) -> "Section":
        problems = list(self.problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def problems(self) -> Iterator[str]:
        """Yields what the fields do wrong together, as «field: expected …; found …»."""
        yield from ()

    def as_plain(self) -> dict[str, Any]:
        """Returns the fields as values that JSON can hold."""
        return self.model_dump(mode="json")


def find_path_problems(key: str, path: str | None) -> Iterator[str]:
    """Yields why a text can be no path of a file, on any system; for ``Section.problems``."""
    if path is not None and "\0" in path:
        yield f"{key}: expected a path; found one with a zero byte in it"


Kind = TypeVar("Kind", bound=BaseModel)


class ConfigurationError(FaceganError):
    """Everything that is wrong with the parameters, one line each, in ``problems``."""

    def __init__(self, where: str, problems: list[str]):
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {where}; nothing was run", *(f"  {problem}" for problem in problems))


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the content of a YAML file that holds a mapping.

    Raises:
        FaceganError: no such file, not text in UTF-8, not YAML, or no mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise FaceganError(
            f"expected the parameters in {path}; found: {error.strerror}; take some: cp presets/demo.yaml params.yaml"
        ) from None
    remedy = "mend it, or take a whole one: cp presets/demo.yaml params.yaml"
    if len(content) > LARGEST_FILE_BYTES:
        raise FaceganError(f"expected parameters of at most {LARGEST_FILE_BYTES:,} bytes in {path}; found more; {remedy}")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(content.decode("utf-8-sig"), yaml.SafeLoader)):
            raise FaceganError(f"expected every value written out in {path}; found an alias (*name); {remedy}")
        values = yaml.safe_load(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise FaceganError(f"expected a text in UTF-8 in {path}; found other bytes ({error.reason}); {remedy}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: an impossible date
        reason = printable(" ".join(str(error).split()))[:LONGEST_VALUE] or type(error).__name__
        raise FaceganError(f"expected YAML in {path}; found {reason}; mend that line") from None
    if not isinstance(values, dict):
        found = {type(None): "nothing", list: "a list"}.get(type(values), "a single value")
        raise FaceganError(f"expected sections such as data: and train: in {path}; found {found}; {remedy}")
    return values


def read_values(kind: type[Kind], values: Mapping[str, Any], where: str) -> Kind:
    """Returns ``kind`` filled from the values.

    Args:
        where: what to call their place in a message, such as "params.yaml".

    Raises:
        ConfigurationError: unknown or missing keys, wrong types, impossible values; all of them at once.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(where, describe_problems(kind, values, error.errors())) from None


def describe_problems(kind: type[BaseModel], values: Mapping[str, Any], errors: list[ErrorDetails]) -> list[str]:
    """Returns pydantic's errors in words, one line for each key that is wrong."""
    problems: list[str] = []
    expected: dict[tuple, list[str]] = {}
    known: dict[tuple, list[str]] = {}  # the words that a key may have
    for error in errors:
        place = error["loc"]
        if error["type"] == "value_error":
            prefix = "".join(f"{name}." for name in find_key(values, place))
            problems += [f"{prefix}{line}" for line in str(error["ctx"]["error"]).splitlines()]
        elif error["type"] == "extra_forbidden":
            problems.append(describe_unknown(".".join(map(show, find_key(values, place))), place[-1], list_fields(kind, place[:-1])))
        else:
            if error["type"].startswith("union_tag"):
                place = (*place, "name")
            key = find_key(values, place, missing=error["type"] == "missing" and isinstance(place[-1], str))
            phrases = expected.setdefault(key, [])
            phrases += [phrase for phrase in [describe_expected(error)] if phrase not in phrases]
            words = error.get("ctx", {})
            known.setdefault(key, []).extend(re.findall(r"'([^']+)'", words.get("expected", "") + words.get("expected_tags", "")))
    for key, phrases in expected.items():
        found = look_up(values, key)
        hint = suggest(found, known[key]) if isinstance(found, str) else ""
        problems.append(f"{'.'.join(map(show, key))}: expected {' or '.join(phrases)}; found {show_value(found)}{hint}")
    return problems


MISSING = object()


def find_key(values: Any, place: tuple, missing: bool = False) -> tuple:
    """Returns that beginning of pydantic's place of an error that leads to a key of the file; the rest names types within a union."""
    key: list[Any] = []
    for step in place:
        if isinstance(values, Mapping) and step in values:
            values = values[step]
            key.append(step)
        elif missing and step == place[-1]:
            key.append(step)
    return tuple(key)


def look_up(values: Any, key: tuple) -> Any:
    """Returns the value at a key, or MISSING."""
    for step in key:
        values = values.get(step, MISSING) if isinstance(values, Mapping) else MISSING
    return values


def list_fields(kind: Any, place: tuple) -> list[str]:
    """Returns the keys that are known at pydantic's place of an error, which names a union's choice by its tag."""
    for step in place:
        if isinstance(kind, type):
            kind = kind.model_fields[step].annotation
        else:
            kind = next(option for option in get_args(kind) if step in get_args(option.model_fields["name"].annotation))
    return list(kind.model_fields)


def describe_expected(error: ErrorDetails) -> str:
    """Returns what was expected, in words."""
    context = error.get("ctx", {})
    if error["type"] == "missing" and isinstance(error["loc"][-1], int):
        return "a longer list"
    bounds = {
        "greater_than": "above {gt}",
        "greater_than_equal": "of at least {ge}",
        "less_than": "below {lt}",
        "less_than_equal": "of at most {le}",
    }
    if error["type"] in bounds:
        return "a number " + bounds[error["type"]].format(**context)
    phrases = {
        "literal_error": "{expected}",
        "union_tag_invalid": "{expected_tags}",
        "union_tag_not_found": "a name",
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "a text",
        "string_unicode": "a text of whole characters",
        "tuple_type": "a list",
        "too_short": "a list of {min_length}",
        "too_long": "a list of {max_length}",
        "missing": "a value",
        "model_type": "keys and values",
        "model_attributes_type": "keys and values",
        "dict_type": "keys and values",
        "none_required": "null",
    }
    return phrases.get(error["type"], error["msg"]).format(**context).replace("'", "")


def describe_unknown(where: str, key: Any, known: Iterable[str]) -> str:
    """Returns the message for a key that means nothing."""
    known = list(known)
    return f"{where}: expected one of {', '.join(known)}; found an unknown key{suggest(key, known)}"


def suggest(word: Any, known: Iterable[str]) -> str:
    """Returns «; did you mean …?», or nothing when no known word is near."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def show(step: Any) -> str:
    """Returns one step of a key for a message."""
    return printable(str(step))[:LONGEST_VALUE]


def show_value(value: Any) -> str:
    """Returns a value for a message, as YAML writes it."""
    if value is MISSING:
        return "nothing; add it"
    if value is None:
        return "null"
    return printable(repr(value))[:LONGEST_VALUE]
