"""The examples in docs/howto/pull-request.md and save-faces.md are valid."""

import re

from projects import ROOT

PAGE = "".join((ROOT / "docs/howto" / name).read_text() for name in ("pull-request.md", "save-faces.md"))


def test_options_of_the_stage_exist():
    options = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', (ROOT / "stages/sample.py").read_text()))
    named = {option for line in PAGE.splitlines() if "python stages/sample.py" in line for option in re.findall(r" (--[a-z-]+)", line)}
    assert named and named <= options
