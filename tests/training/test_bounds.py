"""Every numeric parameter has bounds, and whatever is within them starts: the trainer is built, steps, and is planned by the dry run."""

import contextlib
import json
import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from small_runs import Brightness

from facegan.common.config import ConfigurationError, read_values
from facegan.parameters import Parameters
from facegan.training import dry_run
from facegan.training.hardware import choose_hardware
from facegan.training.loop import Folders
from presets import KINDS, PRESETS, SIZES

STRANGE = (1e308, -1e308, 2**63 - 1, 10**18, 10**400, -1, 0, 0.5, 5e-324, math.nan, math.inf)
Bounds = dict[str, float]  # ge, gt, le, lt


def list_numbers(kind: Any, place: tuple = (), metadata: tuple = ()) -> Iterator[tuple[tuple, Bounds]]:
    """Yields the place and the bounds of every number of a pydantic model."""
    if kind in (int, float):
        yield place, {name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    elif get_origin(kind) is Annotated:
        yield from list_numbers(kind.__origin__, place, (*kind.__metadata__, *metadata))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from list_numbers(field.annotation, (*place, name), tuple(field.metadata))
    elif get_origin(kind) is not Literal:
        for inner in get_args(kind):
            yield from list_numbers(inner, place, metadata)


NUMBERS = list(list_numbers(Parameters))


@pytest.mark.parametrize(("place", "bounds"), NUMBERS, ids=[".".join(place) for place, _ in NUMBERS])
def test_every_number_has_bounds(place, bounds):
    assert len(bounds) >= 2 and {"ge", "gt"} & bounds.keys() and {"le", "lt"} & bounds.keys()
    assert max(bounds.values()) <= 2**63


def set_value(values: dict[str, Any], place: tuple, value: Any) -> dict[str, Any]:
    changed = json.loads(json.dumps(values))
    changed[place[0]][place[1]] = value
    return changed


def list_numeric(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns the section and name of every parameter that can be a number."""
    places = {place for place, _ in NUMBERS if place[0] != "model"} | {("model", "width"), ("model", "latent_size")}
    return sorted(place for place in places if len(place) == 2 and place[1] in values[place[0]])


def plan(parameters: Parameters, tmp_path) -> str:
    """Returns the dry run of parameters for a CPU, without data."""
    folders = Folders(tmp_path / "shards", tmp_path / "model", tmp_path / "metrics", tmp_path / ".checkpoints")
    hardware = choose_hardware("cpu", "fp32")
    return dry_run.dry_run(folders, parameters.model, parameters.train, parameters.preprocess.resolution, hardware, Brightness)


@pytest.fixture
def one_step(monkeypatch):
    """The dry run measures one step of each kind."""
    monkeypatch.setattr(dry_run, "WARM_UP_STEPS", 0)
    monkeypatch.setattr(dry_run, "MEASURED_STEPS", 1)
    monkeypatch.setattr(dry_run, "PLACEHOLDER_IMAGES", 64)
    monkeypatch.setattr(dry_run, "AFFORDABLE_SECONDS", 0.05)


def shrink(preset: str) -> dict[str, Any]:
    width, resolution = SIZES[PRESETS[preset]["model"]["name"]]
    values = json.loads(json.dumps(PRESETS[preset]))
    values["model"] |= {"width": width, "latent_size": 16}
    values["preprocess"]["resolution"] = resolution
    values["train"] |= {"batch": 8, "processes": 1}
    return values


@pytest.mark.parametrize("preset", PRESETS)
def test_strange_numbers_are_rejected_or_within_bounds(preset):
    for place in list_numeric(PRESETS[preset]):
        for value in STRANGE:
            try:
                read_values(Parameters, set_value(PRESETS[preset], place, value), preset)
            except ConfigurationError as error:
                assert all(problem.startswith(place[0]) for problem in error.problems)


@pytest.mark.parametrize("preset", KINDS.values())
@pytest.mark.parametrize("choose", [min, max])
def test_the_bounds_themselves_can_be_planned(tmp_path, one_step, preset, choose):
    values = shrink(preset)
    for place, limits in NUMBERS:
        if place[0] != "train" or place[1] in ("penalty_stride", "batch", "processes"):  # checked with the networks, or slow
            continue
        limit = choose(limits.values())
        limit = 0.999 if "lt" in limits and limit == 1 else limit
        changed = set_value(values, place, [limit, limit] if place[1] == "betas" else limit)
        with contextlib.suppress(ConfigurationError):  # impossible together with another value
            read_values(Parameters, changed, preset)
            values = changed
    assert "dry run" in plan(read_values(Parameters, values, preset), tmp_path)
