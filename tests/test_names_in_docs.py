"""What README and docs name is there: files, links, make's targets, parameters, scripts' options, and the library's own names."""

import importlib
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml
from projects import ROOT

from facegan.parameters import Parameters

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PARAMETERS = {
    f"{section}.{name}"
    for section, field in Parameters.model_fields.items()
    for kind in get_args(field.annotation) or (field.annotation,)
    for name in kind.model_fields
}
SECTIONS = {name.split(".")[0] for name in PARAMETERS}
FOLDERS = "facegan|stages|docs|tests|benchmarks|presets|pretrained|start|\\.dvc"
MADE = {"presets/NAME.yaml", "stages/NAME.py", "start/celeba64"}  # stand for what people put in or choose
OPTION = re.compile(r"(?<![\w-])--?[a-zA-Z][a-z-]*")


def find(pattern: str, text: str) -> set[str]:
    """Returns all that the pattern's first group matches."""
    return {match[1] for match in re.finditer(pattern, text)}


@pytest.fixture(params=PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def page(request) -> Path:
    return request.param


def test_files_exist(page):
    text = re.sub(r"--record \S+", "", page.read_text())  # names a file to write
    named = find(rf"(?<![\w/.<-])((?:{FOLDERS})/[\w./-]*\w)", text)
    assert [name for name in sorted(named - MADE) if not (ROOT / name).exists()] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a downloaded ZIP has no Git repository")
def test_git_ignores_files_that_commands_read_or_write(page):
    """So ``git add -A`` takes neither photos nor results."""
    commands = re.findall(r"^ {4}.*(?:(?:python|curl|dvc) |} >).*$", page.read_text(), re.MULTILINE)
    option = r" (?:--(?:out|metrics|photos|path|attributes|against|model) |-o |> |-S data\.path=)(\w[\w.-]*)(?![\w/.-])"
    for name in sorted(find(option, "\n".join(commands))):
        assert any(not subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT).returncode for path in (name, f"{name}/")), name


def test_links_lead_somewhere(page):
    targets = {target.partition("#")[0] for target in find(r"\]\(([^)\s]+)\)", page.read_text()) if "://" not in target}
    compared = {target for target in targets if target.startswith(("compared/", "data/"))}  # pictures that a run makes, in a sample
    assert [target for target in sorted(targets - compared) if not (page.parent / target).exists()] == []


def test_outputs_are_stages_outputs(page):
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    made = {name for stage in pipeline["stages"].values() for name in stage["outs"]} | {"data/export", "data/shards-failed"}
    named = find(r"(?<![\w/.-])(data/[\w-]+)", page.read_text())
    assert named <= made


def test_parameters_exist(page):
    text = page.read_text()
    set_ones = find(r"-S '?\"?(?:\w+:)?([\w.]+)=", text)
    named = find(r"`((?:{})\.\w+)[`:]".format("|".join(SECTIONS)), text)
    assert sorted((set_ones | named) - PARAMETERS) == []


def test_presets_exist(page):
    presets = {path.stem for path in (ROOT / "presets").glob("*.yaml")}
    tracks = find(r'"(\w+)"', (ROOT / "benchmarks/speedrun.py").read_text())
    assert find(r"`((?:celeba|anime|ffhq|celebahq|my_faces|demo)[0-9]*_[a-z0-9_]+)[:`]", page.read_text()) <= presets | tracks


def test_scripts_take_the_options_that_are_named(page):
    for line in page.read_text().replace("\\\n", " ").splitlines():
        for script, arguments in re.findall(r"python ((?:stages|benchmarks|tests)/\w+\.py)([^#|`&]*)", line):
            text = (ROOT / script).read_text() + (ROOT / "stages/command.py").read_text()
            missing = [option for option in OPTION.findall(re.sub(r"'[^']*'", "", arguments)) if f'"{option}"' not in text]
            assert not missing, (script, missing)


def test_make_has_the_targets(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert find(r"(?:`|    |&& )make ([a-z-]+)", page.read_text()) <= targets


def test_the_librarys_names_can_be_imported(page):
    for name in find(r"`(facegan(?:\.\w+)+)`", page.read_text()):
        module, _, attribute = name.rpartition(".")
        if not (ROOT / name.replace(".", "/")).with_suffix(".py").is_file() and not (ROOT / name.replace(".", "/")).is_dir():
            assert hasattr(importlib.import_module(module), attribute), name
