"""The commands that docs/check.py runs: they can be parsed, and no declared difference is out of date."""

import importlib.util
import re
import subprocess

from projects import ROOT

spec = importlib.util.spec_from_file_location("docs_check", ROOT / "docs/check.py")
assert spec and spec.loader
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)
COMMANDS = {command: page for page in check.PAGES for command in check.read_commands(ROOT / page)}


def test_commands_are_valid_bash():
    for command, page in COMMANDS.items():
        assert subprocess.run(["bash", "-n"], input=command, text=True, timeout=60).returncode == 0, (page, command)


def test_every_declared_difference_applies_to_a_command():
    for pattern in [*(pattern for pattern, _ in check.CHANGES), *check.LEFT_OUT]:
        assert any(re.search(pattern, command) for command in COMMANDS), pattern


def test_each_page_has_commands_that_run():
    for page in check.PAGES:
        ran = [
            command for command in check.read_commands(ROOT / page) if not any(re.search(pattern, command) for pattern in check.LEFT_OUT)
        ]
        assert len(ran) >= 2, page
