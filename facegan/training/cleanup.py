"""Removes the checkpoints of stopped runs and the lock files that are left, which otherwise stay forever."""

import contextlib
from pathlib import Path

from filelock import Timeout

from facegan.common.files import discard, open_lock
from facegan.training.checkpoint import throw_away


def remove_checkpoints(root: Path) -> list[str]:
    """Removes every run below ``root`` that no process is training, and returns a line for each, with what it freed.

    A lock file is removed while its lock is held; a process that waits for it at this moment would train the same run a second time.
    """
    lines = []
    names = {path.name for path in root.glob("[!.]*") if path.is_dir()} | {path.name[1:-5] for path in root.glob(".*.lock")}
    for name in sorted(names):
        folder, lock = root / name, open_lock(root / name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            lines.append(f"{folder}: kept; a process is training it")
            continue
        try:
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            if folder.exists():
                throw_away(root, folder)
            discard(Path(lock.lock_file))
            lines.append(f"{folder}: removed, {size / 1e6:,.1f} MB")
        finally:
            with contextlib.suppress(OSError):
                lock.release()
    return lines
