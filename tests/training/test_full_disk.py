"""A disk that fills up while training writes: one clear line, and with more space the same command ends in the same bytes."""

import ctypes
import shutil
import subprocess
import sys

import pytest
from small_runs import SmallRuns, in_a_fork

from facegan.common.errors import FaceganError

IMAGES = 24
CLONE_NEWNS = 0x20000  # unshare(2): mounts of its own


def can_mount() -> bool:
    """Returns whether this process may mount a small file system for itself alone."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="only root on Linux may mount a file system of its own")
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(tmp_path):
    """A real file system (tmpfs, in a mount namespace of its own) for the checkpoints, of every size from too small to enough."""
    whole = SmallRuns(tmp_path / "whole")
    assert in_a_fork(lambda: whole.train(images=IMAGES)) == 0
    needed = sum(path.stat().st_size for path in whole.folders.checkpoints.rglob("*") if path.is_file()) // 1024
    runs = SmallRuns(tmp_path / "full")
    runs.folders.checkpoints.mkdir()

    def train_on_small_disks():
        failures = []
        assert ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(runs.folders.checkpoints)], check=True)
        for size in (64, *range(needed // 4, needed, max(1, needed // 6))):
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(runs.folders.checkpoints)], check=True)
            try:
                runs.train(images=IMAGES)
            except (FaceganError, OSError) as error:  # of either a stage makes one line
                told = str(error)
                assert "No space left on device" in told and "\n" not in told
                failures.append(told)
            else:
                break
        assert any("state.next.ckpt" in told for told in failures)  # in the middle of PyTorch's own writing
        subprocess.run(["mount", "-o", "remount,size=100m", str(runs.folders.checkpoints)], check=True)
        runs.train(images=IMAGES)

    assert in_a_fork(train_on_small_disks) == 0
    assert runs.hashes() == whole.hashes()
