"""The scripts in benchmarks/ run: small ones at their smallest size, the others up to their options."""

import re

import pytest
from projects import ROOT, make_shards, run_script

SMALL = {
    "archive_speed": ["--photos", "50", "--repeats", "1"],
    "gpu_double": ["--device", "cpu", "--batch", "1", "--rounds", "1"],
    "gpu_step": ["celeba64_dcgan", "--device", "cpu", "--seconds", "0", "--rounds", "1", "--width", "16"],
    "step_counts": ["demo"],
    "enlarged_faces": ["SHARDS", "--images", "20"],
}
MODULES = {"random_inception"}  # imported by other benchmarks
STUDIO = {"studio_speed", "studio_visitors"}  # require the studio's environment
OTHERS = sorted({path.stem for path in (ROOT / "benchmarks").glob("*.py")} - SMALL.keys() - MODULES - STUDIO)


@pytest.mark.parametrize("name", SMALL)
def test_script_runs_at_its_smallest_size(name, tmp_path):
    make_shards(tmp_path, count=60)
    arguments = [str(tmp_path / "data/shards") if argument == "SHARDS" else argument for argument in SMALL[name]]
    result = run_script(ROOT / f"benchmarks/{name}.py", *arguments)
    assert result.returncode == 0, result.stderr
    assert re.search(r"\d", result.stdout)


@pytest.mark.parametrize("name", OTHERS)
def test_script_has_working_imports_and_options(name):
    result = run_script(ROOT / f"benchmarks/{name}.py", "--help")
    assert result.returncode == 0 and result.stdout.startswith("usage: "), result.stderr
