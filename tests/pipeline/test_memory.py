"""Too little memory, on whatever device, is told in one line with what to do, in every stage."""

import argparse
import subprocess
import sys

import pytest
import torch
from import_closure import ROOT
from projects import copy_project, run_stage

sys.path.insert(0, str(ROOT / "stages"))
import command

ERRORS = [
    torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.1 GiB is free."
    ),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8796093022208 bytes."
    ),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB, max allowed: 9.07 GB)."),
    MemoryError(),
]


def fail(error):
    def stage(arguments):
        raise error

    return stage


@pytest.mark.parametrize("error", ERRORS, ids=["CUDA", "CPU", "MPS", "Python"])
def test_it_is_one_line(error):
    with pytest.raises(SystemExit) as ended:
        command.run(fail(error), argparse.Namespace(debug=False), "buy more")
    text = str(ended.value)
    assert text.startswith("error: expected enough memory; found too little (")
    assert text.endswith("; buy more")
    assert "\n" not in text


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="shape"):
        command.run(fail(RuntimeError("shape mismatch")), argparse.Namespace(debug=False))
    with pytest.raises(torch.OutOfMemoryError):
        command.run(fail(ERRORS[0]), argparse.Namespace(debug=True))


def test_training_says_what_to_set(tmp_path):
    """Half a terabyte of weights, which no machine of ours has."""
    project = copy_project(tmp_path, model={"name": "dcgan", "width": 16384, "latent_size": 100, "discriminator_norm": "batch"})
    result = run_stage(project, "train", "--dry-run")
    assert result.returncode == 1
    assert "set train.microbatch" in result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v has no effect")
@pytest.mark.parametrize("kilobytes", [400_000, 3_000_000])  # with the second, OpenBLAS or PyTorch's CUDA build ends the process
def test_a_limit_of_address_space_is_reported_in_one_line(kilobytes):
    limited = ["sh", "-c", f'ulimit -v {kilobytes}; exec "$0" "$@"', sys.executable, "stages/train.py", "--dry-run"]
    result = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True)
    if kilobytes > 1_000_000 and result.returncode == 0:
        pytest.skip("enough for this build of PyTorch")
    assert result.returncode == 1
    assert result.stderr.startswith("error: expected enough memory") and result.stderr.count("\n") == 1, result.stderr


def test_what_apples_gpus_lack_goes_to_the_cpu():
    """PyTorch reads this variable while it is imported, so it has to be set before, in every stage."""
    for stage in sorted((ROOT / "stages").glob("*.py")):
        if stage.stem != "command":
            lines = [line for line in stage.read_text().splitlines() if line.startswith(("import ", "from "))]
            ours = next(index for index, line in enumerate(lines) if "command" in line.split())
            assert not any("torch" in line for line in lines[:ours]), stage
    code = (
        "import sys; sys.path.insert(0, 'stages'); import command, os; "
        "print(os.environ['PYTORCH_ENABLE_MPS_FALLBACK'], 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["1", "False"]
