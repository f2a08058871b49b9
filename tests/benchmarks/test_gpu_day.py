"""benchmarks/gpu_day.py: a rehearsal of its parts on the CPU, and parts that fail, hang or find no time."""

import json
import sys

from projects import ROOT, run_script

from benchmarks import gpu_day
from benchmarks.gpu_day import Part, list_parts, read_numbers, run_parts
from facegan.common.config import read_yaml


def test_failed_and_hanging_parts_are_reported_in_words_and_the_others_run(tmp_path):
    say = "print('eager steps:  2.50 ms per step, 1,000 (900 to 1,100) images per second')"
    nan = "print('verdict:      does not work: generator.start.weight is not finite'); raise SystemExit(1)"
    parts = [
        Part("works", [sys.executable, "-c", say], 60),
        Part("nan", [sys.executable, "-c", nan], 60),
        Part("crash", [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"], 60),
        Part("hangs", ["sh", "-c", "echo started; sleep 600 & sleep 600"], 0.5),
    ]
    results = run_parts(parts, tmp_path, 60) + run_parts([Part("late", ["true"], 60)], tmp_path / "second", 0)
    ends = [result["result"] for result in results]
    assert ends == ["ended", "failed: exit status 1", "failed: ended by signal 11", "stopped: it did not end within 0.5 s", ends[-1]]
    assert ends[-1].startswith("not run")
    assert results[0]["numbers"] == {"eager steps": [2.5, 1000, 900, 1100]}
    assert (tmp_path / "04-hangs.txt").read_text() == "started\n"
    report = (tmp_path / "report.txt").read_text()
    assert "does not work: generator.start.weight is not finite" in report and "hangs: stopped" in report
    assert [part["part"] for part in json.loads((tmp_path / "results.json").read_text())["parts"]] == ["works", "nan", "crash", "hangs"]


def test_tables_are_read():
    assert read_numbers("| 8 px | 1536 | 31.7 (30 to 32) |\n|---|---|\nbatch 64") == {"8 px": [1536, 31.7, 30, 32]}


def test_every_part_names_scripts_and_presets_that_exist(tmp_path):
    for device in ("cpu", "cuda"):
        parts = list_parts(tmp_path, device, 1, tmp_path / "photos.zip")
        assert len({part.name for part in parts}) == len(parts)
        for _, first, *arguments in (part.command for part in parts):
            assert first == "-m" or (ROOT / first).is_file()
            for argument in arguments:
                if argument.endswith(".yaml"):
                    assert read_yaml(ROOT / argument)["train"]["device"] in (device, "auto")
                elif argument.endswith(".py"):
                    assert (ROOT / argument).is_file()


def test_parts_of_its_own_run_on_the_cpu(capsys):
    gpu_day.main(["--device", "cpu", "--only", "derivative"])
    gpu_day.main(["--device", "cpu", "--only", "kernels"])
    out = capsys.readouterr().out
    assert "| 8 px | 1536 | 96 |" in out and "aten::" in out


def test_without_a_gpu_it_says_so():
    result = run_script(ROOT / "benchmarks/gpu_day.py", CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 1 and "expected a CUDA GPU" in result.stderr
