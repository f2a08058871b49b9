"""A person's folder: what is found in it, what is passed over, and what is said when it is none."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from facegan.common.errors import FaceganError
from facegan.common.files import lock_folder
from facegan.photos.manifest import Manifest, escape_name, read_manifest, restore_name
from facegan.photos.parameters import DataParameters
from facegan.photos.sources import download
from facegan.photos.store import Photos, open_photos


def fill(folder: Path, *names: str, content: bytes = b"photo") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content + name.encode("utf-8", "surrogateescape"))
    return folder


def take(home: Path, path: str = "mine", source: str = "folder", **data) -> Photos:
    values = {"source": source, "path": path, "count": 1, "only": None, "where": None, "limit": None} | data
    download(DataParameters(**values), home / "raw", home)
    return open_photos(home / "raw")


def refuse(home: Path, **data) -> str:
    """Returns the one line with which a download ends."""
    with pytest.raises(FaceganError) as caught:
        take(home, **data)
    told = str(caught.value)
    assert told.startswith(("expected", "data.path: expected")) and "found" in told and told.isprintable()
    assert not (home / "raw/manifest.json").exists()
    return told


def test_linked_folders_are_followed_and_each_is_taken_once(tmp_path):
    fill(tmp_path / "mine", "own/1.jpg", "2.jpg")
    fill(tmp_path / "elsewhere", "3.jpg", "deep/4.jpg")
    (tmp_path / "mine/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine/a second way").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "mine/a way to own").symlink_to(tmp_path / "mine/own")
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "mine/own/up").symlink_to(tmp_path / "mine")
    photos = take(tmp_path)
    assert photos.names == ["2.jpg", "a second way/4.jpg", "linked/3.jpg", "own/1.jpg"]
    assert photos.manifest.left_out == {}
    assert list(photos.read_all())[2] == b"photo3.jpg"


def test_links_that_lead_nowhere_or_above_are_counted(tmp_path):
    fill(tmp_path / "mine", "1.jpg")
    fill(tmp_path, "not mine.jpg")
    (tmp_path / "mine/above").symlink_to(tmp_path)
    (tmp_path / "mine/root").symlink_to("/")
    (tmp_path / "mine/gone.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "mine/pipe.jpg")
    photos = take(tmp_path)
    assert photos.names == ["1.jpg"]
    assert photos.manifest.left_out == {"links to folders above": 2, "broken links": 1, "neither file nor folder": 1}


@pytest.mark.parametrize("source", ["folder", "archive"])
def test_what_is_not_taken_is_counted_by_kind(tmp_path, source):
    names = [
        "1.jpg",
        "b.PNG",
        *(f"{number}.mov" for number in range(30)),
        "a.psd",
        "readme",
        ".hidden.jpg",
        "__MACOSX/1.jpg",
        "list_eval_partition.csv",
    ]
    fill(tmp_path / "mine", *names)
    if source == "archive":
        with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
            for name in names:
                archive.write(tmp_path / "mine" / name, name)
    photos = take(tmp_path, path="mine" if source == "folder" else "mine.zip", source=source)
    assert photos.names == ["1.jpg", "b.PNG"]
    hidden = {"hidden": 1, "hidden folders": 1} if source == "folder" else {"hidden": 2}
    assert photos.manifest.left_out == {".mov": 30, ".psd": 1, "no suffix": 1} | hidden
    assert photos.manifest.describe_left_out().startswith("30 .mov, ")


def test_a_million_kinds_are_not_all_named(tmp_path):
    fill(tmp_path / "mine", "1.jpg", *(f"a.{number}" for number in range(100)))
    left_out = take(tmp_path).manifest.left_out
    assert len(left_out) < 20 and sum(left_out.values()) == 100 and left_out["other kinds"] > 80


def test_a_huge_file_that_is_called_a_photo_is_passed_over(tmp_path):
    fill(tmp_path / "mine", "1.jpg")
    with (tmp_path / "mine/sparse.jpg").open("wb") as file:
        file.truncate(20 * 10**9)  # a hole: it takes no room on the disk
    photos = take(tmp_path)
    assert photos.names == ["1.jpg"] and photos.manifest.left_out == {"over 200 MB": 1}
    with (tmp_path / "mine/1.jpg").open("ab") as file:
        file.truncate(20 * 10**9)  # afterwards
    with pytest.raises(FaceganError, match=r"1\.jpg as it was listed; found other contents"):
        list(photos.read_all())


NAMES = ["gr\udcf6\udcdfe.jpg", "größe.jpg", "100%.jpg", "%F6.jpg", "a\nb.jpg", "\x1b[31m.jpg"]


def test_names_that_are_no_unicode_are_names_all_the_same(tmp_path):
    fill(tmp_path / "mine", *NAMES)
    photos = take(tmp_path)
    assert photos.names == sorted(NAMES)
    assert dict(zip(photos.names, photos.read_all(), strict=True)) == {
        name: b"photo" + name.encode("utf-8", "surrogateescape") for name in NAMES
    }
    (tmp_path / "mine" / NAMES[0]).unlink()
    with pytest.raises(FaceganError) as caught:
        list(photos.read_all())
    assert str(caught.value).isprintable()


def test_a_folder_whose_name_is_no_unicode(tmp_path):
    fill(tmp_path / "\udcff", "1.jpg")
    (tmp_path / "mine").symlink_to(tmp_path / "\udcff")
    photos = take(tmp_path)
    assert list(photos.read_all()) == [b"photo1.jpg"]
    json.loads((tmp_path / "raw/manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*NAMES, "plain.jpg", "%", "%25", "\udc80", "ä%\udcc3("])
def test_an_escaped_name_is_unicode_and_comes_back(name):
    escaped = escape_name(name)
    assert restore_name(escaped) == name
    escaped.encode()


def test_the_other_source_is_named(tmp_path):
    fill(tmp_path / "mine", "1.jpg")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("1.jpg", b"photo")
    with zipfile.ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.write(tmp_path / "mine.zip", "mine.zip")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed/mine.zip").write_bytes((tmp_path / "mine.zip").read_bytes())
    assert "found a zip file; set data.source to archive" in refuse(tmp_path, path="mine.zip")
    assert "found a folder; set data.source to folder" in refuse(tmp_path, path="mine", source="archive")
    assert "found a file; give the folder that it lies in" in refuse(tmp_path, path="mine/1.jpg")
    assert "found a zip within the zip; unpack it" in refuse(tmp_path, path="nested.zip", source="archive")
    assert "found a zip, not photos; set data.source to archive" in refuse(tmp_path, path="packed")


@pytest.mark.parametrize("source", ["folder", "archive"])
@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("gone", "found none; a relative path starts at the project's folder"),
        ("/gone/away", "at /gone/away; found none"),
        ("~nosuchuser/photos", "found no home folder of that name"),
        ("a" * 5000, "found: File name too long"),
        ("mine/1.jpg/deeper", "found: Not a directory"),
        ("\x1b[2J", r"\x1b[2J; found none"),
    ],
)
def test_a_path_that_is_none_is_told(tmp_path, source, path, told):
    fill(tmp_path / "mine", "1.jpg")
    assert told in refuse(tmp_path, path=path, source=source)


def test_one_download_at_a_time(tmp_path):
    fill(tmp_path / "mine", "1.jpg")
    with (
        lock_folder(tmp_path / "raw", "downloads into it"),
        pytest.raises(FaceganError, match=r"raw for this process alone; found another that downloads"),
    ):
        take(tmp_path)
    assert take(tmp_path).names == ["1.jpg"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"source": "web"}', "photos.zip", "../photos.zip", -1, "sha"],
    ids=["empty", "torn", "a list", "binary", "null", "foreign", "two places", "a path", "negative", "no hash"],
)
def test_a_torn_or_foreign_manifest_is_told(tmp_path, content):
    fill(tmp_path / "mine", "1.jpg")
    take(tmp_path)
    path = tmp_path / "raw/manifest.json"
    if not isinstance(content, bytes):
        key = {"sha": "sha256", -1: "images"}.get(content, "archive")
        content = json.dumps(json.loads(path.read_text()) | {key: content}).encode()
    path.write_bytes(content)
    with pytest.raises(FaceganError, match=r"expected Manifest in .*manifest\.json; found something else .*; run the download stage again"):
        open_photos(tmp_path / "raw")


def test_a_manifest_of_no_place_is_none():
    with pytest.raises(ValueError, match="either an archive or a folder"):
        Manifest(source="folder", path="a", archive=None, folder=None, sha256="0" * 64, bytes=1, images=1, license="", limit=None)


def test_left_overs_of_a_cut_download_go(tmp_path):
    fill(tmp_path / "mine", "1.jpg")
    fill(tmp_path / "raw", "photos.zip.part", "manifest.json.part", "files.json.part", "photos.zip")
    take(tmp_path)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["files.json", "manifest.json"]
    assert read_manifest(tmp_path / "raw").images == 1
