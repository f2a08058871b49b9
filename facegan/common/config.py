"""From params.yaml's nested dictionaries to frozen dataclasses, with every problem told at once.

In: the whole of params.yaml as a dictionary. Out: one frozen dataclass for each section that a stage asks for. A section's
values are the preset's, overlaid by what stands in the section of the same name at the top level; null there means "as the
preset says".

A dataclass says what it accepts in its annotations alone::

    lr: Annotated[float, Above(0)]
    crop: Literal["none", "square"] | tuple[int, int, int, int]
    limit: Annotated[int, AtLeast(1)] | None

and may have a method ``problems()`` that yields what its fields do wrong together.
"""

import dataclasses
import difflib
import math
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from facegan.common.errors import FaceganError

SECTIONS = ("data", "preprocess", "model", "train", "sample", "evaluate")


class ConfigurationError(FaceganError):
    """Everything that is wrong with the parameters, one line each, in ``problems``."""

    def __init__(self, problems: list[str]):
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in params.yaml; nothing was run\n" + "\n".join(f"  {problem}" for problem in problems))


@dataclasses.dataclass(frozen=True)
class AtLeast:
    """The value is this or more."""

    bound: float

    def __call__(self, value: float) -> bool:
        return value >= self.bound

    def __str__(self) -> str:
        return f"at least {self.bound}"


@dataclasses.dataclass(frozen=True)
class Above:
    """The value is more than this."""

    bound: float

    def __call__(self, value: float) -> bool:
        return value > self.bound

    def __str__(self) -> str:
        return f"above {self.bound}"


@dataclasses.dataclass(frozen=True)
class Between:
    """The value lies in the closed interval."""

    low: float
    high: float

    def __call__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"from {self.low} to {self.high}"


def read_sections(params: Mapping[str, Any], **kinds: type | Callable[[dict[str, Any], list[str]], Any]) -> tuple[Any, ...]:
    """Returns one frozen dataclass for each ``section=Dataclass``, in the order asked for.

    In place of a dataclass there may be a function, where the values themselves decide which one it is: it gets the section's
    values and the list of problems to add to. Of sections that are not asked for, unknown keys alone are told.

    Raises:
        ConfigurationError: an unknown preset, section or key, a missing key, a wrong type or an impossible value; all of
            them at once.
    """
    preset = choose_preset(params)
    problems = [unknown_key("params.yaml", key, ("preset", "presets", *SECTIONS)) for key in params if key not in ("preset", "presets", *SECTIONS)]
    problems += [unknown_key(f"presets.{params['preset']}", key, SECTIONS) for key in preset if key not in SECTIONS]
    for section in (section for section in SECTIONS if section not in kinds):  # another stage would tell, after a night of training perhaps
        known = preset.get(section) or {}
        problems += [unknown_key(section, key, known) for key in merge(params, section) if key not in known]
    results = tuple(
        read_dataclass(kind, merge(params, name), name, problems) if isinstance(kind, type) else kind(merge(params, name), problems)
        for name, kind in kinds.items()
    )
    if problems:
        raise ConfigurationError(problems)
    return results


def choose_preset(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the preset that ``preset`` names. Raises ConfigurationError when there is none of that name."""
    presets = params.get("presets") or {}
    name = params.get("preset")
    if name not in presets:
        raise ConfigurationError([f"preset: expected one of {', '.join(presets)}; found {name!r}{suggest(name, presets)}"])
    return presets[name]


def merge(params: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Returns the preset's values for one section, overlaid by the non-null ones at the top level."""
    overrides = params.get(section) or {}
    return {**(choose_preset(params).get(section) or {}), **{key: value for key, value in overrides.items() if value is not None}}


def read_dataclass(kind: type, values: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    """Returns ``kind(**values)``, or None after adding to ``problems`` what does not fit."""
    hints = get_type_hints(kind, include_extras=True)
    before = len(problems)
    problems += [unknown_key(where, key, hints) for key in values if key not in hints]
    fields = {}
    for field in dataclasses.fields(kind):
        if field.name not in values:
            problems.append(f"{where}.{field.name}: expected {describe(hints[field.name])}; found nothing; add it to the preset")
            continue
        fits, fields[field.name] = convert(values[field.name], hints[field.name])
        if not fits:
            problems.append(f"{where}.{field.name}: expected {describe(hints[field.name])}; found {values[field.name]!r}")
    if len(problems) > before:
        return None
    result = kind(**fields)
    problems += [f"{where}.{problem}" for problem in getattr(result, "problems", lambda: ())()]
    return result


def convert(value: Any, hint: Any) -> tuple[bool, Any]:
    """Returns whether the value fits the annotation, and the value as that type.

    A float may be written as an integer, or as ``2e-4``, which YAML 1.1 reads as a text.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        fits, converted = convert(value, arguments[0])
        return fits and all(check(converted) for check in arguments[1:]), converted
    if origin in (Union, types.UnionType):
        return next((result for result in (convert(value, option) for option in arguments) if result[0]), (False, value))
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in arguments), value
    if origin is tuple:
        return convert_sequence(value, arguments)
    if hint is float:
        return convert_float(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    return isinstance(value, hint), value


def convert_sequence(value: Any, hints: tuple[Any, ...]) -> tuple[bool, Any]:
    """Like ``convert``, for ``tuple[int, int]`` (so many) and ``tuple[int, ...]`` (any number)."""
    if not isinstance(value, list | tuple):
        return False, value
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(value) != len(hints):
        return False, value
    results = [convert(item, hint) for item, hint in zip(value, hints, strict=True)]
    return all(fits for fits, _ in results), tuple(item for _, item in results)


def convert_float(value: Any) -> tuple[bool, Any]:
    """Like ``convert``, for finite numbers."""
    if isinstance(value, str) and value[:1] in "+-.0123456789":
        try:
            value = float(value)
        except ValueError:
            return False, value
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return fits, float(value) if fits else value


def describe(hint: Any) -> str:
    """Returns the annotation in words, for an error message."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([describe(arguments[0]), *map(str, arguments[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple:
        return f"[{', '.join('…' if item is Ellipsis else describe(item) for item in arguments)}]"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false", types.NoneType: "null"}.get(hint, str(hint))


def unknown_key(where: str, key: str, known: Any) -> str:
    """Returns the message for a key that means nothing."""
    return f"{where}.{key}: expected one of {', '.join(known)}; found an unknown key{suggest(key, known)}"


def suggest(word: Any, known: Any) -> str:
    """Returns «; did you mean …?», or nothing when no known word is near."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def as_plain(parameters: Any) -> Iterator[tuple[str, Any]]:
    """Yields a dataclass's fields as values that JSON can hold, in order."""
    for name, value in dataclasses.asdict(parameters).items():
        yield name, list(value) if isinstance(value, tuple) else value
