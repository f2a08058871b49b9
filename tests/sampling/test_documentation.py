"""What docs/experiments.md hands out can be taken as it stands."""

import re
import subprocess

import yaml
from projects import ROOT

PAGE = (ROOT / "docs/experiments.md").read_text()


def test_the_sample_workflow_is_yaml_and_its_steps_are_bash():
    workflow = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    scripts = [step["run"] for step in workflow["jobs"]["report"]["steps"] if "run" in step]
    assert len(scripts) == 3
    for script in scripts:
        assert subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, timeout=60).returncode == 0
    pictures = re.findall(r"!\[\]\((\S+)\)", "".join(scripts))
    assert pictures == [
        "compared/static/main_data_samples_grid.png",
        "compared/static/workspace_data_samples_grid.png",
        "data/samples/losses.png",
    ]


def test_every_option_that_the_page_names_is_one():
    options = set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', (ROOT / "stages/sample.py").read_text()))
    named = {option for line in PAGE.splitlines() if "python stages/sample.py" in line for option in re.findall(r" (--[a-z-]+)", line)}
    assert named and named <= options
