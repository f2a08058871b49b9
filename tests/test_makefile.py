"""The Makefile reports a Python that is too old before it creates anything."""

import shutil
import subprocess
import sys

import pytest
from import_closure import ROOT

OLD_PYTHON = f"""#!{sys.executable}
import sys
sys.version_info = (3, 10, 0)
exec(sys.argv[2])
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", ["demo", "studio"])
def test_an_old_python_is_reported_in_one_line_and_leaves_nothing(tmp_path, target):
    for name in ("Makefile", "requirements.txt", "requirements-studio.txt", "constraints.txt", "requirements"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(OLD_PYTHON)
    (tmp_path / "python").chmod(0o755)
    result = subprocess.run(["make", target, f"PYTHON={tmp_path / 'python'}"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert errors == ["error: expected Python 3.11 or newer; found 3.10; name another: make PYTHON=python3.12"]
    assert not list(tmp_path.glob(".venv*"))
