"""A folder is replaced as a whole, or stays as it was."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import ROOT, wait_for

from facegan.common.errors import FaceganError
from facegan.common.files import replace_folder


def make(folder: Path, content: str) -> None:
    with replace_folder(folder) as unfinished:
        (unfinished / "content").write_text(content)


def list_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_folder_takes_the_old_ones_place_and_nothing_else_remains(tmp_path):
    make(tmp_path / "shards", "first")
    (tmp_path / "shards" / "more").write_text("gone with the next")
    make(tmp_path / "shards", "second")
    assert (tmp_path / "shards/content").read_text() == "second"
    assert list_names(tmp_path / "shards") == ["content"] and list_names(tmp_path) == ["shards"]


def test_what_shares_its_bytes_with_the_old_folder_is_never_written_to(tmp_path):
    make(tmp_path / "shards", "first")
    os.link(tmp_path / "shards/content", tmp_path / "cached")
    (tmp_path / "cached").chmod(0o444)
    make(tmp_path / "shards", "second")
    assert (tmp_path / "cached").read_text() == "first" and (tmp_path / "shards/content").read_text() == "second"


def test_a_failure_leaves_the_old_folder(tmp_path):
    make(tmp_path / "shards", "first")
    with pytest.raises(RuntimeError), replace_folder(tmp_path / "shards") as unfinished:
        (unfinished / "content").write_text("second")
        raise RuntimeError
    assert (tmp_path / "shards/content").read_text() == "first" and list_names(tmp_path) == ["shards"]


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "large disk").mkdir()
    (tmp_path / "shards").symlink_to(tmp_path / "large disk")
    make(tmp_path / "shards", "first")
    assert (tmp_path / "shards").is_symlink() and (tmp_path / "large disk/content").read_text() == "first"


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FaceganError, match=r"expected to write .*shards; found: Not a directory; fix that"):
        make(tmp_path / "file" / "shards", "first")


def test_a_killed_run_leaves_the_old_folder_and_the_next_one_sweeps(tmp_path):
    make(tmp_path / "shards", "first")
    program = """
import sys, time
from pathlib import Path
from facegan.common.files import replace_folder
with replace_folder(Path(sys.argv[1])) as unfinished:
    (unfinished / "content").write_text("second")
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path / "shards"], cwd=ROOT)
    wait_for((tmp_path / ".shards.part/content").is_file, process)
    process.kill()
    process.wait()
    assert (tmp_path / "shards/content").read_text() == "first"
    make(tmp_path / "shards", "third")
    assert list_names(tmp_path) == ["shards"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    make(tmp_path / "shards", "first")
    os.replace(tmp_path / "shards", tmp_path / ".shards.old")  # as such a kill leaves it
    with pytest.raises(RuntimeError), replace_folder(tmp_path / "shards"):
        raise RuntimeError
    assert (tmp_path / "shards/content").read_text() == "first"
