"""Photos in data/raw: names, order, content, and errors for missing or changed files."""

import json
import pickle

import pytest
from raw_photos import SOURCES, make_raw

from facegan.common.errors import FaceganError
from facegan.photos.manifest import Manifest, read_manifest, write_manifest
from facegan.photos.selection import find_photos
from facegan.photos.store import open_photos

FILES = {
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


@SOURCES
def test_photos_are_sorted_by_name(tmp_path, source):
    photos = open_photos(make_raw(tmp_path, FILES, source))
    assert photos.names == PHOTOS
    assert list(photos.read_all()) == [b"c", b"a", b"b"]
    assert photos.manifest.images == 3
    assert photos.read_partition() == {"a.png": 0, "b.JPG": 2}


@SOURCES
def test_photos_can_be_pickled(tmp_path, source):
    photos = open_photos(make_raw(tmp_path, FILES, source))
    part = photos.select(["faces/b.JPG"])
    assert part.names == ["faces/b.JPG"]
    assert list(pickle.loads(pickle.dumps(photos)).read_all()) == [b"c", b"a", b"b"]
    assert list(pickle.loads(pickle.dumps(part)).read_all()) == [b"b"]


@SOURCES
@pytest.mark.parametrize(("limit", "count"), [(2, 2), (99, 3)])
def test_limit_selects_the_first_names(tmp_path, source, limit, count):
    photos = open_photos(make_raw(tmp_path, FILES, source, limit=limit))
    assert photos.names == PHOTOS[:count] and photos.manifest.images == count
    assert photos.read_partition() == ({"a.png": 0} if count == 2 else {"a.png": 0, "b.JPG": 2})


def test_repeated_names_count_once():
    assert find_photos([("b.png", 1), ("a.png", 1), ("b.png", 1)])[0] == ["a.png", "b.png"]


def test_no_partition_without_a_list(tmp_path):
    assert open_photos(make_raw(tmp_path, {"a.png": b"a"})).read_partition() is None


def test_manifest_round_trip(tmp_path):
    place = {"source": "folder", "path": "größe", "archive": None, "folder": "/photos"}
    manifest = Manifest(**place, sha256="ab" * 32, bytes=5, images=1, license="mine", limit=None, left_out={".heic": 3})
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert set(json.loads((tmp_path / "manifest.json").read_text())) == {*Manifest.model_fields, "fingerprint"} - {"labels"}
    with pytest.raises(ValueError, match="either an archive or a folder"):
        Manifest(**manifest.model_dump() | {"folder": None})


def test_folder_is_listed_and_not_copied(tmp_path):
    raw = make_raw(tmp_path, FILES, "folder")
    assert sorted(path.name for path in raw.iterdir()) == ["files.json", "manifest.json"]
    manifest = read_manifest(raw)
    assert manifest.archive is None and manifest.folder == str(tmp_path / "given")


def test_folder_fingerprint_depends_on_names_and_contents_of_photos(tmp_path):
    renamed = {("faces/z.png" if name == "faces/a.png" else name): content for name, content in FILES.items()}
    variants = [FILES, FILES, FILES | {"faces/notes.txt": b"other notes"}, FILES | {"faces/a.png": b"A"}, renamed]
    first, *others = (read_manifest(make_raw(tmp_path / str(number), files, "folder")).sha256 for number, files in enumerate(variants))
    assert [sha256 == first for sha256 in others] == [True, True, False, False]


def test_changed_or_missing_photo_is_reported(tmp_path):
    photos = open_photos(make_raw(tmp_path, FILES, "folder"))
    (tmp_path / "given/faces/a.png").write_bytes(b"A")
    (tmp_path / "given/c.webp").unlink()
    with pytest.raises(FaceganError, match=r"faces/a\.png unchanged since it was listed; found different content; run `dvc repro --force"):
        list(photos.select(["faces/a.png"]).read_all())
    with pytest.raises(FaceganError, match=r"expected a photo in .*c\.webp; found No such file"):
        list(photos.select(["c.webp"]).read_all())
    assert list(photos.select(["faces/b.JPG"]).read_all()) == [b"b"]


def test_missing_or_changed_files_in_raw_are_reported(tmp_path):
    raw = make_raw(tmp_path, FILES)
    content = (raw / "photos.zip").read_bytes()
    (raw / "photos.zip").write_bytes(content + b"x")
    with pytest.raises(FaceganError, match=f"expected {len(content)} bytes in .*photos.zip; found {len(content) + 1}"):
        open_photos(raw)
    (raw / "photos.zip").unlink()
    with pytest.raises(FaceganError, match=r"expected the archive .*photos\.zip; found no such file"):
        open_photos(raw)
    (raw / "manifest.json").unlink()
    with pytest.raises(FaceganError, match=r"manifest\.json; .*; run the download stage again"):
        open_photos(raw)


def test_file_list_must_match_the_manifest(tmp_path):
    raw = make_raw(tmp_path, FILES, "folder")
    (raw / "files.json").write_text("{}")
    with pytest.raises(FaceganError, match=r"files\.json as manifest\.json describes it; found different content"):
        open_photos(raw)
    (raw / "files.json").unlink()
    with pytest.raises(FaceganError, match=r"files\.json; found: No such file"):
        open_photos(raw)
