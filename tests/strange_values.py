"""Strange values for property tests: whatever JSON and YAML can hold, put into any place of a good document; and how such tests are run.

``FACEGAN_EXAMPLES=20 pytest …`` looks at twenty times as many examples, other ones each time.
"""

import copy
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FACEGAN_EXAMPLES", "1"))
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "~",
            "null",
            "nan",
            "-inf",
            "1e999",
            "0x10",
            "1_000",
            "..",
            "/",
            "a\nb",
            "\x1b[2J",
            "\u202e",
            "\ud800",
            "\x00",
            "%FF",
            "9" * 5000,
        ]
    ),
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**400, -(10**400), 1e308, 5e-324]))
SIMPLE = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(SIMPLE, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)), max_leaves=8)


def examples(count: int) -> settings:
    """Returns the settings of a property test that looks at so many examples, the same ones each time."""
    slow = [
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
    ]  # a file that each example writes anew may lie in a test's one folder
    return settings(max_examples=count * TIMES, derandomize=TIMES == 1, deadline=None, suppress_health_check=slow, database=None)


def list_places(document: Any, place: tuple = ()) -> list[tuple]:
    """Returns the ways to every value in a document, its own first."""
    steps = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [place, *(inner for step, value in steps for inner in list_places(value, (*place, step)))]


@st.composite
def spoil(draw: st.DrawFn, document: Any, values: st.SearchStrategy = VALUES) -> Any:
    """Draws the document with one to three of its values replaced, taken away, or joined by another."""
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
