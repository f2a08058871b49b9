"""The demo's stages where what only some systems have is missing: as on Windows and on macOS."""

import subprocess
import sys
from pathlib import Path

from projects import change_params, copy_project, environment

MISSING = """
import multiprocessing.heap, os, signal, sys

NAMES = {
    signal: ["pthread_sigmask", "SIGKILL", "SIGHUP"],
    os: ["pread", "posix_fallocate", "sched_getaffinity", "statvfs", "fork", "forkpty", "link", "getuid", "geteuid", "killpg", "setsid"],
}
for module, names in NAMES.items():
    for name in names:
        delattr(module, name)
sys.modules["fcntl"] = sys.modules["pwd"] = sys.modules["resource"] = None  # importing them fails


def refuse(path):
    if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(("/proc", "/dev/shm")):
        raise FileNotFoundError(2, "No such file or directory", path)


def look(path, *arguments, **options):
    refuse(path)
    return stat(path, *arguments, **options)


stat, os.stat = os.stat, look
sys.addaudithook(lambda event, arguments: refuse(arguments[0]) if event in ("open", "os.listdir", "os.scandir") else None)
print("without", file=sys.stderr)
"""


def test_the_demos_stages_use_nothing_that_only_linux_has(tmp_path: Path):
    project = copy_project(tmp_path, images=32)
    change_params(project, "data", count=60)
    change_params(project, "evaluate", images=20, memorisation_images=20)
    change_params(project, "sample", count=2)
    (tmp_path / "names").mkdir()
    (tmp_path / "names/sitecustomize.py").write_text(MISSING)
    stages = ("download", "preprocess", "reference", "train", "evaluate", "sample", "train")  # training also from what it has kept
    program = (
        "import runpy, sys; scripts = sys.argv[1:]; del sys.argv[1:]; [runpy.run_path(script, run_name='__main__') for script in scripts]"
    )
    command = [sys.executable, "-c", program, *(f"stages/{stage}.py" for stage in stages)]
    run = subprocess.run(command, cwd=project, env=environment(PYTHONPATH=f"{tmp_path / 'names'}:stages"), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr.startswith("without\n") and "Traceback" not in run.stderr
    assert "already trained" in run.stdout
    assert (project / "data/samples/report.html").is_file() and (project / "data/evaluation/report.json").is_file()
