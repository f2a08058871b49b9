"""Photos in data/raw: which names count, in what order, and what is said when something is amiss."""

import json
import pickle
import zipfile
from pathlib import Path

import pytest

from facegan.common.errors import FaceganError
from facegan.photos.manifest import Manifest, read_manifest, write_manifest
from facegan.photos.selection import find_photos
from facegan.photos.sources import DataParameters, download
from facegan.photos.store import open_photos

MEMBERS = {
    "faces/b.JPG": b"b",
    "faces/a.png": b"a",
    "faces/notes.txt": b"not a photo",
    "faces/.hidden.jpg": b"hidden",
    ".cache/c.jpg": b"hidden too",
    "__MACOSX/faces/a.png": b"a resource fork",
    "c.webp": b"c",
    "meta/list_eval_partition.csv": b"image_id,partition\r\na.png,0\r\nb.JPG,2\r\n",
}
PHOTOS = ["c.webp", "faces/a.png", "faces/b.JPG"]


def fill_raw(folder: Path, source: str, members: dict[str, bytes] = MEMBERS, limit: int | None = None) -> Path:
    """Returns a data/raw made from these files, given as a zip or as a folder."""
    given = folder / f"given {source}"
    if source == "archive":
        with zipfile.ZipFile(given, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        for name, content in members.items():
            (given / name).parent.mkdir(parents=True, exist_ok=True)
            (given / name).write_bytes(content)
    raw = folder / "raw"
    download(DataParameters(source=source, path=given.name, count=1, only=None, where=None, limit=limit), raw, home=folder)
    return raw


@pytest.mark.parametrize("source", ["archive", "folder"])
def test_photos_in_plain_order_and_nothing_else(tmp_path, source):
    photos = open_photos(fill_raw(tmp_path, source))
    assert photos.names == PHOTOS
    assert list(photos.read_all()) == [b"c", b"a", b"b"]
    assert photos.manifest.images == 3
    assert photos.read_partition() == {"a.png": 0, "b.JPG": 2}


@pytest.mark.parametrize("source", ["archive", "folder"])
def test_photos_travel_to_other_processes(tmp_path, source):
    photos = open_photos(fill_raw(tmp_path, source))
    part = photos.select(["faces/b.JPG"])
    assert part.names == ["faces/b.JPG"]
    assert list(pickle.loads(pickle.dumps(photos)).read_all()) == [b"c", b"a", b"b"]
    assert list(pickle.loads(pickle.dumps(part)).read_all()) == [b"b"]


@pytest.mark.parametrize("source", ["archive", "folder"])
def test_a_limit_takes_the_first_by_name(tmp_path, source):
    photos = open_photos(fill_raw(tmp_path, source, limit=2))
    assert photos.names == PHOTOS[:2] and photos.manifest.images == 2
    assert photos.read_partition() == {"a.png": 0}


def test_a_limit_above_the_count_changes_nothing(tmp_path):
    assert open_photos(fill_raw(tmp_path, "archive", limit=99)).manifest.images == 3


def test_each_name_counts_once():
    assert find_photos([("b.png", 1), ("a.png", 1), ("b.png", 1)])[0] == ["a.png", "b.png"]


def test_no_partition_without_a_list(tmp_path):
    assert open_photos(fill_raw(tmp_path, "archive", {"a.png": b"a"})).read_partition() is None


@pytest.mark.parametrize("text", ["image,split\na.png,0\n", "image_id,partition\na.png,train\n", "image_id,partition\na.png\n"])
def test_a_list_that_is_none_is_told(tmp_path, text):
    photos = open_photos(fill_raw(tmp_path, "archive", {"a.png": b"a", "list_eval_partition.csv": text.encode()}))
    with pytest.raises(
        FaceganError, match=r"expected a file's name and its partition, 0, 1 or 2, in each line of list_eval_partition\.csv"
    ):
        photos.read_partition()


def test_a_manifest_reads_as_it_was_written(tmp_path):
    place = {"source": "folder", "path": "größe", "archive": None, "folder": "/photos"}
    manifest = Manifest(**place, sha256="ab" * 32, bytes=5, images=1, license="mine", limit=None, left_out={".heic": 3})
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert set(json.loads((tmp_path / "manifest.json").read_text())) == set(Manifest.model_fields)


def test_a_folder_is_listed_and_not_copied(tmp_path):
    raw = fill_raw(tmp_path, "folder")
    assert sorted(path.name for path in raw.iterdir()) == ["files.json", "manifest.json"]
    manifest = read_manifest(raw)
    assert manifest.archive is None and manifest.folder == str(tmp_path / "given folder")


def test_a_folder_has_the_fingerprint_of_its_names_and_contents(tmp_path):
    first = read_manifest(fill_raw(tmp_path / "first", "folder")).sha256
    assert read_manifest(fill_raw(tmp_path / "second", "folder")).sha256 == first
    changed = {**MEMBERS, "faces/a.png": b"A"}
    renamed = {("faces/z.png" if name == "faces/a.png" else name): content for name, content in MEMBERS.items()}
    beside = {**MEMBERS, "faces/notes.txt": b"other notes"}
    assert read_manifest(fill_raw(tmp_path / "changed", "folder", changed)).sha256 != first
    assert read_manifest(fill_raw(tmp_path / "renamed", "folder", renamed)).sha256 != first
    assert read_manifest(fill_raw(tmp_path / "beside", "folder", beside)).sha256 == first


def test_a_photo_that_changed_or_vanished_is_told(tmp_path):
    photos = open_photos(fill_raw(tmp_path, "folder"))
    (tmp_path / "given folder/faces/a.png").write_bytes(b"A")
    (tmp_path / "given folder/c.webp").unlink()
    with pytest.raises(FaceganError, match=r"faces/a\.png as it was listed; found other contents; run `dvc repro --force download`"):
        list(photos.select(["faces/a.png"]).read_all())
    with pytest.raises(FaceganError, match=r"expected a photo in .*c\.webp; found No such file"):
        list(photos.select(["c.webp"]).read_all())
    assert list(photos.select(["faces/b.JPG"]).read_all()) == [b"b"]


def test_what_is_amiss_in_raw_is_told(tmp_path):
    raw = fill_raw(tmp_path, "archive")
    content = (raw / "photos.zip").read_bytes()
    (raw / "photos.zip").write_bytes(content + b"x")
    with pytest.raises(FaceganError, match=f"expected {len(content)} bytes in .*photos.zip; found {len(content) + 1}"):
        open_photos(raw)
    (raw / "photos.zip").unlink()
    with pytest.raises(FaceganError, match=r"expected the archive .*photos\.zip; found no such file"):
        open_photos(raw)
    (raw / "manifest.json").write_text('{"source": "archive"}')
    with pytest.raises(
        FaceganError, match=r"expected Manifest in .*manifest\.json; found something else \(path: Field required\); run the download"
    ):
        open_photos(raw)
    (raw / "manifest.json").unlink()
    with pytest.raises(FaceganError, match=r"expected .*manifest\.json; found: No such file.*; run the download stage again"):
        open_photos(raw)


def test_a_list_that_is_not_the_manifests_is_told(tmp_path):
    raw = fill_raw(tmp_path, "folder")
    (raw / "files.json").write_text("{}")
    with pytest.raises(FaceganError, match=r"expected .*files\.json as manifest\.json describes it; found other contents"):
        open_photos(raw)
    (raw / "files.json").unlink()
    with pytest.raises(FaceganError, match=r"expected to read .*files\.json; found: No such file"):
        open_photos(raw)
