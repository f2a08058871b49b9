"""What all stage scripts share: an early Ctrl-C, and systems that lack what only Linux has."""

import signal
import subprocess
import sys

from import_closure import ROOT
from projects import copy_project, environment, make_shards

EARLY = "import os, signal, sys, time; sys.path.insert(0, 'stages'); import command; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"
ELSEWHERE = """
import os, runpy, signal, sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None  # importing it fails
for name in ("link", "pread"):
    delattr(os, name)
delattr(signal, "pthread_sigmask")
sys.argv = ["stages/train.py"]
sys.path.insert(0, "stages")
runpy.run_path("stages/train.py", run_name="__main__")
"""


def test_ctrl_c_before_a_stage_has_begun_says_nothing():
    result = subprocess.run([sys.executable, "-c", EARLY], cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=60, preexec_fn=heed)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def heed():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_training_needs_nothing_that_only_linux_has(tmp_path):
    project = copy_project(tmp_path, images=32)
    make_shards(project)
    for _ in range(2):  # the second time from what the first has kept
        result = subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=project, capture_output=True, text=True, env=environment(), timeout=300)
        assert result.returncode == 0, result.stderr
    assert "takes what an earlier call has trained" in result.stdout
    assert (project / "data/model/generator.safetensors").is_file()
