"""The sources folder and archive: which files are taken, which are skipped, and errors for invalid paths."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from raw_photos import SOURCES, fill_raw, make_raw, write_folder, write_zip

from facegan.common.errors import FaceganError
from facegan.common.files import lock_folder, read_sealed_values, write_sealed_json
from facegan.photos.manifest import escape_name, read_manifest, restore_name
from facegan.photos.sources.folder import is_placeholder
from facegan.photos.store import Photos, open_photos


def write(folder: Path, *names: str) -> Path:
    """Writes files whose content contains their name."""
    return write_folder(folder, {name: b"photo" + name.encode("utf-8", "surrogateescape") for name in names})


def take(home: Path, path: str = "mine", source: str = "folder") -> Photos:
    return open_photos(fill_raw(home, source, path), home)


def refuse(home: Path, **data) -> str:
    """Returns the message of a download that must fail without a manifest."""
    with pytest.raises(FaceganError) as caught:
        take(home, **data)
    message = str(caught.value)
    assert message.startswith(("expected", "data.path: expected")) and "found" in message and message.isprintable()
    assert not (home / "raw/manifest.json").exists()
    return message


def test_linked_folders_are_entered_once(tmp_path):
    write(tmp_path / "mine", "own/1.jpg", "2.jpg")
    write(tmp_path / "elsewhere", "3.jpg", "deep/4.jpg")
    (tmp_path / "mine/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine/a second path").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "mine/a link to own").symlink_to(tmp_path / "mine/own")
    (tmp_path / "elsewhere/circle").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine/own/up").symlink_to(tmp_path / "mine")
    photos = take(tmp_path)
    assert photos.names == ["2.jpg", "a second path/4.jpg", "linked/3.jpg", "own/1.jpg"]
    assert photos.manifest.left_out == {}
    assert list(photos.read_all())[2] == b"photo3.jpg"


def test_broken_links_and_links_to_parents_are_counted(tmp_path):
    write(tmp_path / "mine", "1.jpg")
    write(tmp_path, "not mine.jpg")
    (tmp_path / "mine/parent").symlink_to(tmp_path)
    (tmp_path / "mine/root").symlink_to("/")
    (tmp_path / "mine/broken.jpg").symlink_to(tmp_path / "missing.jpg")
    os.mkfifo(tmp_path / "mine/pipe.jpg")
    photos = take(tmp_path)
    assert photos.names == ["1.jpg"]
    assert photos.manifest.left_out == {"links to parent folders": 2, "broken links": 1, "neither file nor folder": 1}


@SOURCES
def test_skipped_files_are_counted_by_kind(tmp_path, source):
    names = ["1.jpg", "b.PNG", "a.psd", "readme", ".hidden.jpg", "__MACOSX/1.jpg", "list_eval_partition.csv"]
    photos = open_photos(make_raw(tmp_path, dict.fromkeys([*names, *(f"{number}.mov" for number in range(30))], b"content"), source))
    assert photos.names == ["1.jpg", "b.PNG"]
    hidden = {"hidden": 1, "hidden folders": 1} if source == "folder" else {"hidden": 2}
    assert photos.manifest.left_out == {".mov": 30, ".psd": 1, "no suffix": 1} | hidden
    assert photos.manifest.describe_left_out().startswith("30 .mov, ")


def test_rare_kinds_are_added_up(tmp_path):
    write(tmp_path / "mine", "1.jpg", *(f"a.{number}" for number in range(100)))
    left_out = take(tmp_path).manifest.left_out
    assert len(left_out) < 20 and sum(left_out.values()) == 100 and left_out["other kinds"] > 80


def test_huge_file_is_skipped(tmp_path):
    write(tmp_path / "mine", "1.jpg", "sparse.jpg")
    os.truncate(tmp_path / "mine/sparse.jpg", 20 * 10**9)
    photos = take(tmp_path)
    assert photos.names == ["1.jpg"] and photos.manifest.left_out == {"over 200 MB": 1}
    os.truncate(tmp_path / "mine/1.jpg", 20 * 10**9)
    with pytest.raises(FaceganError, match=r"1\.jpg unchanged since it was listed"):
        list(photos.read_all())


NAMES = ["gr\udcf6\udcdfe.jpg", "größe.jpg", "100%.jpg", "%F6.jpg", "a\nb.jpg", "\x1b[31m.jpg"]


def test_names_that_are_not_unicode(tmp_path):
    write(tmp_path / "\udcff", *NAMES)
    (tmp_path / "mine").symlink_to(tmp_path / "\udcff")
    photos = take(tmp_path)
    assert photos.names == sorted(NAMES)
    assert list(photos.read_all()) == [b"photo" + os.fsencode(name) for name in photos.names]
    json.loads((tmp_path / "raw/manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "mine" / NAMES[0]).unlink()
    with pytest.raises(FaceganError) as caught:
        list(photos.read_all())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [*NAMES, "plain.jpg", "%", "%25", "\udc80", "ä%\udcc3("])
def test_escaped_name_round_trip(name):
    escaped = escape_name(name)
    assert restore_name(escaped) == name
    assert escaped.encode().decode() == escaped


def test_wrong_source_is_reported_with_the_right_one(tmp_path):
    write(tmp_path / "mine", "1.jpg")
    archive = write_zip(tmp_path / "mine.zip", {"1.jpg": b"photo"}).read_bytes()
    write_zip(tmp_path / "nested.zip", {"mine.zip": archive})
    write_folder(tmp_path / "packed", {"mine.zip": archive})
    assert "found an archive; set data.source to archive" in refuse(tmp_path, path="mine.zip")
    assert "found a folder; set data.source to folder" in refuse(tmp_path, path="mine", source="archive")
    assert "found a file; set data.path to the folder that contains it" in refuse(tmp_path, path="mine/1.jpg")
    assert "found an archive inside the archive; unpack it" in refuse(tmp_path, path="nested.zip", source="archive")
    assert "found an archive, not photos; set data.source to archive" in refuse(tmp_path, path="packed")


@SOURCES
@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("missing", "found none; a relative path starts at the project folder"),
        ("/missing/too", "at /missing/too; found none"),
        ("~nosuchuser/photos", "found: Could not determine home directory"),
        ("a" * 5000, "found: File name too long"),
        ("mine/1.jpg/deeper", "found: Not a directory"),
        ("\x1b[2J", r"\x1b[2J; found none"),
    ],
)
def test_invalid_path_is_reported(tmp_path, source, path, problem):
    write(tmp_path / "mine", "1.jpg")
    assert problem in refuse(tmp_path, path=path, source=source)


def test_second_download_at_the_same_time_is_refused(tmp_path):
    write(tmp_path / "mine", "1.jpg")
    with lock_folder(tmp_path / "raw", "downloads into it"), pytest.raises(FaceganError, match="downloads into it"):
        take(tmp_path)
    assert take(tmp_path).names == ["1.jpg"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"source": "web"}', {"archive": "photos.zip"}, {"archive": "../photos.zip"}, {"images": -1}],
    ids=["empty", "truncated", "a list", "binary", "null", "another program's", "archive and folder", "a path", "negative"],
)
def test_invalid_manifest_is_reported(tmp_path, content):
    write(tmp_path / "mine", "1.jpg")
    take(tmp_path)
    path = tmp_path / "raw/manifest.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_sealed_json(path, read_sealed_values(path, "") | content)
    with pytest.raises(FaceganError, match=r"expected .*manifest\.json.*; .*; run the download stage again"):
        open_photos(tmp_path / "raw")


def test_remains_of_an_interrupted_download_are_removed(tmp_path):
    write(tmp_path / "mine", "1.jpg")
    write(tmp_path / "raw", "photos.zip.part", "manifest.json.part", "files.json.part", "photos.zip")
    take(tmp_path)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["files.json", "manifest.json"]
    assert read_manifest(tmp_path / "raw").images == 1


def test_links_to_themselves_and_too_long_paths_are_counted(tmp_path, monkeypatch):
    write(tmp_path / "mine", "1.jpg")
    (tmp_path / "mine/loop.jpg").symlink_to("loop.jpg")
    monkeypatch.chdir(tmp_path / "mine")
    for _ in range(20):
        os.mkdir("d" * 250)
        os.chdir("d" * 250)
    Path("2.jpg").write_bytes(b"photo")
    photos = take(tmp_path)
    assert photos.names == ["1.jpg"] and photos.manifest.left_out == {"broken links": 2}


def test_empty_files_and_placeholders_are_counted(tmp_path, monkeypatch):
    write(tmp_path / "mine", "1.jpg", "cloud.heic")
    (tmp_path / "mine/empty.jpg").touch()
    assert take(tmp_path).manifest.left_out == {"empty": 1}
    in_cloud = (tmp_path / "mine/cloud.heic").stat().st_ino  # macOS and Windows mark such files
    monkeypatch.setattr("facegan.photos.sources.folder.is_placeholder", lambda status: status.st_ino == in_cloud)
    photos = take(tmp_path)
    assert photos.names == ["1.jpg"] and photos.manifest.left_out == {"empty": 1, "in the cloud only": 1}


@pytest.mark.parametrize(("flags", "attributes", "expected"), [(0, 0, False), (0x40000000, 0, True), (0, 0x400000, True)])
def test_placeholders_are_recognised_by_the_marks_of_macos_and_windows(flags, attributes, expected):
    assert is_placeholder(SimpleNamespace(st_flags=flags, st_file_attributes=attributes)) is expected
