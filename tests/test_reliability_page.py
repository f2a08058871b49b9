"""docs/measurements/reliability.md names tests that there are."""

import re

from import_closure import ROOT

ROWS = [
    line
    for line in (ROOT / "docs/measurements/reliability.md").read_text().splitlines()
    if line.startswith("| ") and ": " in line and not line.startswith("| fault")
]


def test_every_row_names_a_test_that_there_is():
    assert len(ROWS) >= 80
    for row in ROWS:
        file, name = row.rstrip("| ").rsplit(" | ", 1)[1].split(": ")
        assert re.search(rf"^def test_{name}\(", (ROOT / "tests" / f"{file}.py").read_text(), re.MULTILINE), row
