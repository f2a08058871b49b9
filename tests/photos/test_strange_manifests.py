"""Whatever stands in data/raw's manifest.json and files.json: the photos are read, or the project says in a line what is wrong."""

import hashlib
import json
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strange_values import TEXTS, VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.photos.manifest import Manifest, read_files, read_manifest, write_files, write_manifest
from facegan.photos.store import open_photos

SHA256 = hashlib.sha256(b"a photo").hexdigest()
NAMES = (
    TEXTS
    | st.binary(max_size=20).map(os.fsdecode)
    | st.sampled_from(["1.jpg", "../1.jpg", "/etc/hostname", "a/b.png", "list_eval_partition.txt"])
)
BESIDES = {"only": None, "where": {"Smiling": 1}, "limit": 3, "left_out": {".gif": 2}, "license": "unknown", "images": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of one photo, and that photo in an archive."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "1.jpg").write_bytes(b"a photo")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.write(folder / "1.jpg", "1.jpg")
    return folder


def make_manifest(folder, source):
    """Returns what a download of that source would have written."""
    if source == "folder":
        sha256 = write_files(folder, {"1.jpg": SHA256})
        place = {"archive": None, "folder": str(folder), "sha256": sha256, "bytes": 7}
    else:
        archive = folder / "photos.zip"
        place = {
            "archive": archive.name,
            "folder": None,
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "bytes": archive.stat().st_size,
        }
    return {"source": source, "path": "somewhere", **place, **BESIDES, "where": None, "limit": None}


def check(folder):
    """Fails unless the photos in the folder are read or told in a line."""
    try:
        photos = open_photos(folder)
        photos.read_partition()
        assert all(content == b"a photo" for content in photos.read_all())
    except FaceganError as error:
        assert str(error).isprintable() and len(str(error)) < 3000


@pytest.mark.parametrize("source", ["folder", "archive"])
@examples(100)
@given(data=st.data())
def test_a_strange_manifest_is_read_or_told(folder, source, data):
    content = data.draw(spoil(make_manifest(folder, source), VALUES | st.sampled_from(["1.jpg", "photos.zip", {"Smiling": 1}, "list.txt"])))
    (folder / "manifest.json").write_text(json.dumps(content))
    check(folder)


@examples(80)
@given(data=st.data())
def test_a_strange_list_of_files_with_the_right_hash_is_read_or_told(folder, data):
    manifest = make_manifest(folder, "folder")
    files = data.draw(spoil({"1.jpg": SHA256}) | st.dictionaries(NAMES, st.sampled_from([SHA256, "0" * 64]), max_size=3))
    (folder / "files.json").write_text(json.dumps(files))
    (folder / "manifest.json").write_text(
        json.dumps(manifest | {"sha256": hashlib.sha256((folder / "files.json").read_bytes()).hexdigest()})
    )
    check(folder)


@examples(50)
@given(st.dictionaries(st.binary(min_size=1, max_size=20).map(os.fsdecode), st.just(SHA256), max_size=4))
def test_files_are_read_as_they_were_written(tmp_path, files):
    manifest = Manifest(source="folder", path="x", archive=None, folder="/x", sha256=write_files(tmp_path, files), bytes=7, **BESIDES)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert read_files(tmp_path, manifest) == files
