"""docs/dependencies.md has a row for everything that the requirements name, and for nothing else."""

import re

from import_closure import ROOT


def test_every_requirement_has_its_row_and_no_other_has():
    lines = [line for file in sorted(ROOT.glob("requirements*.txt")) for line in file.read_text().splitlines()]
    required = {re.match(r"[a-z0-9-]+", line)[0] for line in lines if re.match(r"[a-z]", line)}
    rows = re.findall(r"^\| ([a-z][a-z0-9-]+) \| [0-9].*\|$", (ROOT / "docs/dependencies.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(required)
