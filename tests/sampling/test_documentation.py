"""The examples in docs/howto/pull-request.md and save-faces.md are valid."""

import re
import subprocess

import yaml
from projects import ROOT

PAGE = "".join((ROOT / "docs/howto" / name).read_text() for name in ("pull-request.md", "save-faces.md"))


def test_sample_workflow_is_yaml_with_bash_steps():
    workflow = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    scripts = [step["run"] for step in workflow["jobs"]["report"]["steps"] if "run" in step]
    assert len(scripts) == 3
    for script in scripts:
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, timeout=60).returncode == 0


def test_options_of_the_stage_exist():
    options = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', (ROOT / "stages/sample.py").read_text()))
    named = {option for line in PAGE.splitlines() if "python stages/sample.py" in line for option in re.findall(r" (--[a-z-]+)", line)}
    assert named and named <= options
