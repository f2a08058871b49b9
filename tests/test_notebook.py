"""The notebook runs from start to end, and is committed without outputs."""

import pytest
import yaml
from projects import ROOT, copy_project, environment

from facegan.common.config import read_yaml

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
NOTEBOOK = nbformat.read(ROOT / "notebooks/facegan.ipynb", as_version=4)


def test_notebook_has_no_outputs():
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in NOTEBOOK.cells)


def test_notebook_runs(tmp_path, monkeypatch):
    project = copy_project(tmp_path, images=160, batch=16, progress_images=80)
    params = read_yaml(project / "params.yaml")
    params["data"]["count"] = 100
    params["evaluate"] |= {"images": 20, "memorisation_images": 20}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (project / "notebooks").mkdir()
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    NOTEBOOK.cells[1].source = f"REPOSITORY, KEEP, PRESET = '', {str(tmp_path / 'drive')!r}, ''"
    nbclient.NotebookClient(NOTEBOOK, timeout=600, resources={"metadata": {"path": str(project / "notebooks")}}).execute()
    printed = "".join(output.get("text", "") for cell in NOTEBOOK.cells for output in cell.get("outputs", ()))
    assert "fd_efficientnet_lite0" in printed and "→" in printed
    assert len(list((tmp_path / "drive/.checkpoints").glob("*/finished"))) == 2
