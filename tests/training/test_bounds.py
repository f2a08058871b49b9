"""Every numeric parameter has bounds, and whatever is within them starts: the trainer is built, steps, and is planned by the dry run."""

import contextlib
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
from presets import KINDS, PRESETS, SIZES, change

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


@pytest.fixture
def one_step(monkeypatch):
    """The dry run measures one step of each kind."""
    for name, value in {"WARM_UP_STEPS": 0, "MEASURED_STEPS": 1, "PLACEHOLDER_IMAGES": 64, "AFFORDABLE_SECONDS": 0.05}.items():
        monkeypatch.setattr(dry_run, name, value)


@pytest.mark.parametrize("preset", KINDS.values())
@pytest.mark.parametrize("choose", [min, max])
def test_the_bounds_themselves_can_be_planned(tmp_path, one_step, preset, choose):
    width, resolution = SIZES[PRESETS[preset]["model"]["name"]]
    small = {"model": {"width": width, "latent_size": 16}, "preprocess": {"resolution": resolution}, "train": {"batch": 8, "processes": 1}}
    values = change(preset, **small)
    for place, limits in NUMBERS:
        if place[0] != "train" or place[1] in ("penalty_stride", "batch", "processes"):  # checked with the networks, or slow
            continue
        limit = choose(limits.values())
        limit = 0.999 if "lt" in limits and limit == 1 else limit
        changed = values | {"train": values["train"] | {place[1]: [limit, limit] if place[1] == "betas" else limit}}
        with contextlib.suppress(ConfigurationError):  # impossible together with another value
            read_values(Parameters, changed, preset)
            values = changed
    parameters, folders = read_values(Parameters, values, preset), Folders(*(tmp_path / name for name in ("a", "b", "c", "d")))
    text = dry_run.dry_run(folders, parameters.model, parameters.train, resolution, choose_hardware("cpu", "fp32"), Brightness)
    assert "dry run" in text
