"""The key of a run depends on what the code does, not on comments, layout or messages."""

import json
from pathlib import Path

import pytest

import facegan
from facegan.training import checkpoint, trainer
from facegan.training.code import MODULES, hash_source

SOURCE = '''
"""A module."""

def step(x: float, rate: float = 0.1) -> float:
    """Doubles."""
    if x < 0:
        raise ValueError(f"expected a positive number; found {x}")
    print("a step", flush=True)
    return 2 * x + rate  # twice
'''


IGNORED = {
    "# twice": "# two times", '"""A module."""': "", "Doubles.": "Returns the double.", "expected a positive number": "expected more",
    "ValueError": "TypeError", 'print("a step", flush=True)': 'print("one step")', "rate: float = 0.1) -> float": "rate = 0.1)",
    "2 * x + rate": "(2 * x\n            + rate)",
}  # fmt: skip
BEHAVIOUR = {"2 * x": "3 * x", "= 0.1": "= 0.2", "x < 0": "x <= 0", "+ rate": "- rate"}


@pytest.mark.parametrize(("old", "new", "same"), [(*pair, pairs is IGNORED) for pairs in (IGNORED, BEHAVIOUR) for pair in pairs.items()])
def test_the_hash_depends_on_behaviour_alone(old, new, same):
    assert old in SOURCE and (hash_source(SOURCE.replace(old, new)) == hash_source(SOURCE)) == same


def test_every_pattern_matches_modules():
    root = Path(facegan.__file__).parent
    assert all(any(root.glob(pattern)) for pattern in MODULES)


@pytest.fixture
def change_code(monkeypatch):
    """Changes the hash of the code."""
    return lambda: monkeypatch.setattr(trainer, "hash_code", lambda: "changed")


def test_run_of_other_code_is_reported(runs, change_code, capsys):
    complete = runs.train(images=48)
    stopped = runs.runs()[0].name
    runs.train(images=24, lr=2e-4)  # another run, whose parameters differ
    change_code()
    capsys.readouterr()
    assert runs.train(images=48)["generator.safetensors"] == complete["generator.safetensors"]
    printed = capsys.readouterr().out
    assert stopped in printed and "--accept-code-change" in printed


def test_accepting_a_code_change_is_recorded(runs, change_code, capsys):
    complete = runs.train(images=48)
    (first,) = runs.runs()
    change_code()
    capsys.readouterr()
    accepted = runs.train(images=96, accept_code_change=True)
    assert "resumed at 48 of 96" in capsys.readouterr().out
    report = json.loads((runs.folders.model / "training.json").read_text())
    assert report["code_changes"] == [{"run": first.name, "at_images_seen": 48}]
    assert accepted["generator.safetensors"] != complete["generator.safetensors"]
    assert checkpoint.has_state(first)  # the other run is kept
    assert runs.train(images=96) == accepted  # and needs no option any more
