"""Checkpoints and lock files are removed on request, except those in use."""

from facegan.common.files import open_lock
from facegan.training.cleanup import remove_checkpoints


def test_all_runs_are_removed_and_listed_except_running_ones(tmp_path):
    root = tmp_path / ".checkpoints"
    for name in ("a" * 16, "b" * 16):
        (root / name / "progress").mkdir(parents=True)
        (root / name / "state.ckpt").write_bytes(bytes(2_000_000))
    (root / f".{'c' * 16}.lock").touch()  # of a run that is gone
    (tmp_path / "other").mkdir()
    with open_lock(root / ("b" * 16)):
        lines = remove_checkpoints(root)
        assert [line.rsplit(": ", 1)[1] for line in lines] == ["removed, 2.0 MB", "kept; a process is training it", "removed, 0.0 MB"]
        assert sorted(path.name for path in root.iterdir()) == [f".{'b' * 16}.lock", "b" * 16]
    assert len(remove_checkpoints(root)) == 1 and not list(root.iterdir())
    assert remove_checkpoints(tmp_path / "missing") == []
