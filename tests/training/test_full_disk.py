"""A full disk during training: one line is printed, and with more space the same command ends with byte-identical results."""

import ctypes
import shutil
import subprocess
import sys

import pytest
from small_runs import SmallRuns, in_a_fork

from facegan.common.errors import FaceganError

IMAGES = 24
CLONE_NEWNS = 0x20000  # unshare(2): a separate mount namespace


def can_mount() -> bool:
    """Returns whether this process may create a mount namespace."""
    if not sys.platform.startswith("linux") or shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="requires root on Linux")
def test_full_disk_is_reported_in_one_line_and_loses_nothing(tmp_path):
    """The checkpoints are on a tmpfs, whose size grows from too small to sufficient."""
    reference = SmallRuns(tmp_path / "reference")
    assert in_a_fork(lambda: reference.train(images=IMAGES)) == 0
    needed = sum(path.stat().st_size for path in reference.folders.checkpoints.rglob("*") if path.is_file()) // 1024
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
            except (FaceganError, OSError) as error:  # a stage prints either in one line
                message = str(error)
                assert "No space left on device" in message and "\n" not in message
                failures.append(message)
            else:
                break
        assert any("state.next.ckpt" in message for message in failures)  # while PyTorch was writing
        subprocess.run(["mount", "-o", "remount,size=100m", str(runs.folders.checkpoints)], check=True)
        runs.train(images=IMAGES)

    assert in_a_fork(train_on_small_disks) == 0
    assert runs.hashes() == reference.hashes()
