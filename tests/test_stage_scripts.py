"""What all stage scripts share: an early Ctrl-C."""

import signal
import subprocess
import sys

from import_closure import ROOT
from projects import environment

EARLY = "import os, signal, sys, time; sys.path.insert(0, 'stages'); import command; os.kill(os.getpid(), signal.SIGINT); time.sleep(5)"


def test_ctrl_c_before_a_stage_has_begun_says_nothing():
    result = subprocess.run(
        [sys.executable, "-c", EARLY], cwd=ROOT, capture_output=True, text=True, env=environment(), timeout=60, preexec_fn=heed
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def heed():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
