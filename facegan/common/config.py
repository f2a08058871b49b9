"""Reading params.yaml into frozen pydantic models, with all problems in one message.

In: the path of a YAML file, and the model that describes its content. Out: that model. The model of each package's section is in its module
``parameters``, which has no heavy imports; ``facegan.parameters`` combines them.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from annotated_types import Ge, Le, Lt
from pydantic import BaseModel, BeforeValidator, ConfigDict, FiniteFloat, ValidationError, model_validator
from pydantic_core import ErrorDetails

from facegan.common.errors import FaceganError, printable

LARGEST_FILE_BYTES = 100_000
MOST_BRACKETS = 500  # deeply nested brackets take PyYAML minutes
MOST_PROBLEMS = 20  # listed in a message
LONGEST_VALUE = 200  # characters of a value in a message
REMEDY = "fix it, or start from a complete file: cp presets/demo.yaml params.yaml"


def read_whole_number(value: Any) -> Any:
    """Returns ``1e5`` as an integer; other values unchanged."""
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


Number = FiniteFloat
WholeNumber = Annotated[int, BeforeValidator(read_whole_number)]
Seed = Annotated[WholeNumber, Ge(0), Lt(2**63)]
ImageCount = Annotated[WholeNumber, Ge(1), Le(10_000_000_000)]  # five times the longest published training


class Section(BaseModel):
    """A section of the parameters: frozen, without unknown keys, and with exact types (no text for a number, no number for a bool)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    @model_validator(mode="after")
    def _check_together(self) -> "Section":
        problems = list(self.problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def problems(self) -> Iterator[str]:
        """Yields conflicts between fields, as «field: expected …; found …»."""
        yield from ()

    def as_plain(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return self.model_dump(mode="json")


def find_path_problems(key: str, path: str | None) -> Iterator[str]:
    """Yields why a text cannot be a file path on any system; for ``Section.problems``."""
    if path is not None and "\0" in path:
        yield f"{key}: expected a path; found one with a zero byte in it"


Kind = TypeVar("Kind", bound=BaseModel)


class ConfigurationError(FaceganError):
    """Everything that is wrong with the parameters, one line each, in ``problems``."""

    def __init__(self, where: str, problems: list[str]):
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems):,} problems"
        listed = [f"  {problem}" for problem in problems[:MOST_PROBLEMS]]
        more = [f"  and {len(problems) - MOST_PROBLEMS:,} more"] if len(problems) > MOST_PROBLEMS else []
        super().__init__(f"{count} in {where}; nothing was run", *listed, *more)


class Loader(yaml.SafeLoader):
    """Reads YAML 1.2's core schema, as DVC does; PyYAML's own loader reads YAML 1.1, where 010 is 8, yes is true and 1:0 is 60.

    Whatever the two versions read differently stays a text, which no number or switch accepts.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as in the base class)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Returns the next node. Raises YAMLError for an alias (*name) or a tag (!!int)."""
        if self.check_event(yaml.AliasEvent) or getattr(self.peek_event(), "tag", None):
            raise yaml.YAMLError("an alias (*name) or a tag (!name); write out every value")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping. Raises YAMLError for a key that occurs twice."""
        result = super().construct_mapping(node, deep=True)
        keys = [key.value for key, _ in node.value]
        if len(result) < len(keys) or any(not isinstance(key, str) for key in result):
            repeated = next((key for key in keys if keys.count(key) > 1), None)
            problem = f"the key {repeated} twice" if repeated else "a key that is not a name"
            raise yaml.YAMLError(f"{problem}, in line {node.start_mark.line + 1} or below")
        return result


for tag, pattern, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), [*first, ""] if tag == "null" else list(first))


def read_yaml(path: Path) -> dict[str, Any]:
    """Returns the content of a YAML file that contains a mapping.

    Raises:
        FaceganError: no such file, not UTF-8, not YAML, not a mapping, or too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise FaceganError(f"expected the parameters in {path}; found: {error.strerror}; try cp presets/demo.yaml params.yaml") from None
    if len(content) > LARGEST_FILE_BYTES or content.count(b"[") + content.count(b"{") > MOST_BRACKETS:
        limits = f"at most {LARGEST_FILE_BYTES:,} bytes and {MOST_BRACKETS} brackets"
        raise FaceganError(f"expected parameters of {limits} in {path}; found more; {REMEDY}")
    try:
        values = yaml.load(content.decode("utf-8-sig"), Loader)
    except UnicodeDecodeError as error:
        raise FaceganError(f"expected text in UTF-8 in {path}; found other bytes ({error.reason}); {REMEDY}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # TypeError: a list as a key
        reason = printable(" ".join(str(error).split()))[:LONGEST_VALUE] or type(error).__name__
        raise FaceganError(f"expected YAML in {path}; found {reason}; fix that line") from None
    if not isinstance(values, dict):
        found = {type(None): "nothing", list: "a list"}.get(type(values), "a single value")
        raise FaceganError(f"expected sections such as data: and train: in {path}; found {found}; {REMEDY}")
    return values


def read_values(kind: type[Kind], values: Mapping[str, Any], where: str) -> Kind:
    """Returns ``kind`` with the values.

    Args:
        where: the name of their source in a message, such as "params.yaml".

    Raises:
        ConfigurationError: unknown or missing keys, wrong types, impossible values; all of them together.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(where, describe_problems(kind, values, error.errors(include_url=False))) from None


def describe_problems(kind: type[BaseModel], values: Mapping[str, Any], errors: list[ErrorDetails]) -> list[str]:
    """Returns pydantic's errors, one line per key, with the value that was found."""
    problems: list[str] = []
    expected: dict[tuple, list[str]] = {}
    for error in errors:
        place = (*error["loc"], "name") if error["type"].startswith("union_tag") else error["loc"]
        key = find_key(values, place, missing=error["type"] == "missing")
        if error["type"] == "value_error":
            prefix = "".join(f"{show(step)}." for step in key)
            problems += [f"{prefix}{line}" for line in str(error["ctx"]["error"]).splitlines()]
        elif len(problems) + len(expected) >= MOST_PROBLEMS:
            problems.append("")  # counted, not shown: looking for similar names takes time
        elif error["type"] == "extra_forbidden":
            known = list_fields(kind, place[:-1])
            name = ".".join(map(show, key or place))
            problems.append(f"{name}: expected one of {', '.join(known)}; found an unknown key{suggest(place[-1], known)}")
        else:
            phrases = expected.setdefault(key, [])
            phrases += [phrase for phrase in [describe_expected(error)] if phrase not in phrases]
    described = []
    for key, phrases in expected.items():
        found = look_up(values, key)
        hint = suggest(found, re.findall(r"'([^']+)'", " ".join(phrases))) if isinstance(found, str) else ""
        described.append(f"{'.'.join(map(show, key))}: expected {' or '.join(phrases)}; found {show_value(found)}{hint}")
    return described + problems


MISSING = object()


def find_key(values: Any, place: tuple, missing: bool) -> tuple:
    """Returns the part of pydantic's location of an error that names keys of the file; the rest names types within a union."""
    key: list[Any] = []
    for step in place:
        if isinstance(values, Mapping) and step in values:
            values = values[step]
            key.append(step)
        elif missing and step == place[-1] and isinstance(step, str):
            key.append(step)
    return tuple(key)


def look_up(values: Any, key: tuple) -> Any:
    """Returns the value at a key, or MISSING."""
    for step in key:
        values = values.get(step, MISSING) if isinstance(values, Mapping) else MISSING
    return values


def list_fields(kind: Any, place: tuple) -> list[str]:
    """Returns the known keys at pydantic's location of an error, which names a union's choice by its tag."""
    for step in place:
        if hasattr(kind, "model_fields"):
            kind = kind.model_fields[step].annotation
        else:
            kind = next(option for option in get_args(kind) if step in get_args(option.model_fields["name"].annotation))
    return list(kind.model_fields)


def describe_expected(error: ErrorDetails) -> str:
    """Returns what was expected, in pydantic's words where they are plain."""
    phrases = {
        "union_tag_invalid": "{expected_tags}",
        "union_tag_not_found": "a name",
        "tuple_type": "a list",
        "too_short": "a list of {min_length}",
        "too_long": "a list of {max_length}",
        "missing": "a longer list" if error["loc"] and isinstance(error["loc"][-1], int) else "a value",
        "bool_type": "true or false",
        "string_type": "text",
        "model_type": "keys and values",
        "model_attributes_type": "keys and values",
        "none_required": "null",
    }
    phrase = phrases.get(error["type"], error["msg"].removeprefix("Input should be "))
    return phrase.format(**error.get("ctx", {})) if error["type"] in phrases else phrase


def suggest(word: Any, known: Iterable[str]) -> str:
    """Returns «; did you mean …?», or nothing if no known word is similar."""
    near = difflib.get_close_matches(str(word)[:LONGEST_VALUE], list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def show(step: Any) -> str:
    """Returns one step of a key for a message."""
    return printable(str(step))[:LONGEST_VALUE]


def show_value(value: Any) -> str:
    """Returns a value for a message."""
    if value is MISSING:
        return "nothing; add it"
    text = "null" if value is None else printable(repr(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
