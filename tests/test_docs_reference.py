"""The reference pages that docs/reference.py generates cover the code."""

import csv
import importlib.util
import json
import re
from types import SimpleNamespace

import pytest
from projects import ROOT

from facegan.common.config import Section, read_yaml

spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/reference.py")
assert spec and spec.loader
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


class Undescribed(Section):
    """Has a field without a description.

    Attributes:
        known: described.
    """

    known: int
    new: int


def test_every_parameter_of_every_preset_is_described():
    page = reference.write_parameters()
    for path in (ROOT / "presets").glob("*.yaml"):
        names = {f"{section}.{name}" for section, values in read_yaml(path).items() for name in values}
        assert [name for name in names if not re.search(rf"^###.* {re.escape(name)}\b", page, re.MULTILINE)] == []


@pytest.mark.parametrize("name", ["parameters", "presets", "files", "python"])  # commands and http take longer
def test_generated_page_replaces_the_one_for_readers_without_the_site(name):
    page = SimpleNamespace(file=SimpleNamespace(src_uri=f"reference/{name}.md"))
    text = (ROOT / f"docs/reference/{name}.md").read_text()
    generated = reference.on_page_markdown(text, page=page)
    assert generated.splitlines()[0] == text.splitlines()[0] and "Without the site" not in generated


def test_parameter_without_description_is_rejected():
    with pytest.raises(ValueError, match="new"):
        reference.describe_fields(Undescribed)


def test_types_ranges_and_stages_are_stated():
    page = reference.write_parameters()
    batch = page.partition("### train.batch\n")[2].partition("\n### ")[0]
    assert "whole number (≥ 2, ≤ 65,536)" in batch and "`demo`: `16`" in batch and "read by: train" in batch
    assert "read by: reference, evaluate" in page.partition("### evaluate.images\n")[2].partition("\n### ")[0]


def test_every_metric_is_described():
    page = (ROOT / "docs/reference/metrics.md").read_text()
    names = {name for file in ("train", "evaluate") for name in json.loads((ROOT / f"metrics/{file}.json").read_text())}
    for file in ("losses", "quick_scores"):
        names |= set(next(csv.reader((ROOT / f"metrics/{file}.csv").open())))
    described = re.sub(r"fd_<extractor>", "fd_efficientnet_lite0", page)
    kinds = {re.sub(r"_(floor|untrained)$", "", name) for name in names}
    assert [name for name in sorted(kinds) if f"`{name}`" not in described] == []


def test_file_formats_and_python_api_are_described():
    assert "| `resolution` |" in reference.write_files() and "## FaceGenerator.faces" in reference.write_python()


def test_http_interface_is_described():
    pytest.importorskip("fastapi", reason="the HTTP interface's schema needs fastapi")
    page = reference.write_http()
    assert "## GET /api/wall.png" in page and "`seed`" in page
