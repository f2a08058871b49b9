"""Arbitrary values of JSON and YAML for property tests, in any place of a valid document, and the settings of these tests.

``FACEGAN_EXAMPLES=20 pytest …`` runs twenty times as many examples, other ones each time.
"""

import copy
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FACEGAN_EXAMPLES", "1"))
ODD_TEXTS = [
    "",
    *["~", "null", "nan", "-inf", "1e999", "0x10", "1_000", "..", "/", "%FF"],
    "a\nb",
    "\x1b[2J",
    "\u202e",
    "\ud800",
    "\x00",
    "9" * 5000,
]
TEXTS = st.one_of(st.text(max_size=20), st.sampled_from(ODD_TEXTS))
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, -(10**400), 1e308, 5e-324]))
SIMPLE = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(SIMPLE, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)), max_leaves=8)


def examples(count: int) -> settings:
    """Returns the settings of a property test with this number of examples, the same ones each time."""
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]  # each example writes its file to the test's only folder
    return settings(max_examples=count * TIMES, derandomize=TIMES == 1, deadline=None, suppress_health_check=slow, database=None)


def list_places(document: Any, place: tuple = ()) -> list[tuple]:
    """Returns the keys and indices that lead to each value in a document, beginning with the document itself."""
    steps = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [place, *(inner for step, value in steps for inner in list_places(value, (*place, step)))]


@st.composite
def spoil(draw: st.DrawFn, document: Any, values: st.SearchStrategy = VALUES) -> Any:
    """Draws the document with one to three of its values replaced or removed, or others added."""
    document, values = copy.deepcopy(document), values.map(copy.deepcopy)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(list_places(document)))
        if not place:
            document = draw(values) if draw(st.booleans()) else document
            continue
        holder = document
        for step in place[:-1]:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                holder[place[-1]] = draw(values)
            case "remove":
                del holder[place[-1]]
            case "add" if isinstance(holder, dict):
                holder[draw(TEXTS)] = draw(values)
            case "add":
                holder.append(draw(values))
    return document
