"""Photos to shards where names are missing that only some systems have: as on Windows and on macOS."""

from pathlib import Path

from projects import change_params, copy_project, run_stage

MISSING = """
import multiprocessing.heap, os, signal, sys

for module, names in {signal: ["pthread_sigmask", "SIGKILL", "SIGHUP"], os: ["pread", "posix_fallocate", "sched_getaffinity", "statvfs", "fork"]}.items():
    for name in names:
        delattr(module, name)
sys.modules["fcntl"] = sys.modules["pwd"] = sys.modules["resource"] = None
print("without", file=sys.stderr)
"""


def test_download_and_preprocess_use_nothing_that_only_linux_has(tmp_path: Path):
    project = copy_project(tmp_path)
    change_params(project, "data", count=60)
    (tmp_path / "names").mkdir()
    (tmp_path / "names/sitecustomize.py").write_text(MISSING)
    for stage in ("download", "preprocess"):
        run = run_stage(project, stage, PYTHONPATH=str(tmp_path / "names"))
        assert run.returncode == 0, run.stderr
        assert run.stderr.startswith("without\n") and "Traceback" not in run.stderr
    assert (project / "data/shards/index.json").is_file()
