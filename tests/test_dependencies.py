"""Third-party imports are declared dependencies; declared dependencies are pinned, documented and known to the package metadata."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from import_closure import ROOT, import_closure

PIPELINE, STUDIO, OPTIONAL, DEV, DOCS = "requirements.txt", *(f"requirements/{name}.txt" for name in ("studio", "optional", "dev", "docs"))
FOLDERS = {
    "facegan": [PIPELINE, OPTIONAL],
    "facegan/export": [PIPELINE, STUDIO],
    "facegan/studio": [PIPELINE, STUDIO],
    "stages": [PIPELINE],
    "docs": [PIPELINE, DOCS],
    "benchmarks": [PIPELINE, STUDIO, DEV],
    "tests": [PIPELINE, STUDIO, OPTIONAL, DEV],
}
DISTRIBUTIONS = packages_distributions()
OWN_MODULES = {"facegan", "benchmarks"} | {
    path.stem for folder in ("stages", "benchmarks", "tests", "docs") for path in (ROOT / folder).rglob("*.py")
}


def normalize(name: str) -> str:
    """Returns the distribution name in the form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_requirements(file: str) -> set[str]:
    """Returns the distributions that a requirements file lists."""
    return {normalize(match[0]) for line in (ROOT / file).read_text().splitlines() if (match := re.match(r"[A-Za-z][\w.-]*", line))}


def find_distributions(nodes: Iterable[ast.AST]) -> set[str]:
    """Returns the distributions that the import statements among the nodes need. A module that is not installed counts as its own name."""
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and node.level == 0}
    modules = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - OWN_MODULES
    return {normalize(DISTRIBUTIONS.get(module, [module])[0]) for module in modules}


def folder_of(file: Path) -> str:
    """Returns the most specific key of FOLDERS that contains the file."""
    return max((folder for folder in FOLDERS if file.is_relative_to(ROOT / folder)), key=len)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_third_party_import_is_declared(folder):
    files = [file for file in sorted((ROOT / folder).rglob("*.py")) if folder_of(file) == folder]
    declared = set().union(*map(read_requirements, FOLDERS[folder]))
    imported = {file.relative_to(ROOT).as_posix(): find_distributions(list(ast.walk(ast.parse(file.read_text())))) for file in files}
    assert files and {name: missing for name, found in imported.items() if (missing := found - declared)} == {}


def test_facegan_load_needs_only_the_package_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {normalize(re.match(r"[\w-]+", line)[0]) for line in project["dependencies"]}
    closure = [ROOT / name for name in import_closure(ROOT / "facegan/sampling/library.py")]
    assert set().union(*(find_distributions(ast.parse(file.read_text()).body) for file in closure)) <= declared


def test_every_dependency_of_pipeline_and_development_is_pinned():
    pinned = read_requirements(PIPELINE) | read_requirements(OPTIONAL) | read_requirements(DEV) | read_requirements(DOCS)
    assert pinned <= read_requirements("constraints.txt")


def test_the_documentation_has_one_row_per_dependency():
    rows = re.findall(r"^\| ([a-z][a-z0-9-]+) \| [0-9].*\|$", (ROOT / "docs/reference/dependencies.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(
        read_requirements(PIPELINE)
        | read_requirements(STUDIO)
        | read_requirements(OPTIONAL)
        | read_requirements(DEV)
        | read_requirements(DOCS)
    )
