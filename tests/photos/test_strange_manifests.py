"""Property tests: with any content in manifest.json and files.json, reading the photos succeeds or raises a one-line FaceganError."""

import hashlib
import json
import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_photos import SOURCES
from strange_values import TEXTS, VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.common.files import write_sealed_json
from facegan.photos.manifest import Manifest, read_files, read_manifest, write_files, write_manifest
from facegan.photos.store import open_photos

SHA256 = hashlib.sha256(b"a photo").hexdigest()
NAMES = (
    TEXTS
    | st.binary(max_size=20).map(os.fsdecode)
    | st.sampled_from(["1.jpg", "../1.jpg", "/etc/hostname", "a/b.png", "list_eval_partition.txt"])
)
OTHER_FIELDS = {"path": "somewhere", "only": None, "where": None, "limit": None, "left_out": {".gif": 2}, "license": "unknown", "images": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one photo, and an archive of that photo."""
    folder = tmp_path_factory.mktemp("raw")
    (folder / "1.jpg").write_bytes(b"a photo")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.write(folder / "1.jpg", "1.jpg")
    return folder


def make_manifest(folder, source):
    """Returns a valid manifest."""
    if source == "folder":
        place = {"archive": None, "folder": str(folder), "sha256": write_files(folder, {"1.jpg": SHA256}), "bytes": 7}
    else:
        content = (folder / "photos.zip").read_bytes()
        place = {"archive": "photos.zip", "folder": None, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    return {"source": source, **place, **OTHER_FIELDS}


def read_or_report(folder) -> bool:
    """Returns whether reading the folder yields no other photo than the one in it, or raises FaceganError with a printable message."""
    try:
        photos = open_photos(folder)
        photos.read_partition()
        return set(photos.read_all()) <= {b"a photo"}
    except FaceganError as error:
        return str(error).isprintable() and len(str(error)) < 3000


@SOURCES
@examples(100)
@given(data=st.data())
def test_strange_manifest_is_read_or_reported(folder, source, data):
    content = data.draw(spoil(make_manifest(folder, source), VALUES | st.sampled_from(["1.jpg", "photos.zip", {"Smiling": 1}, "list.txt"])))
    write_sealed_json(folder / "manifest.json", content if isinstance(content, dict) else {"content": content})
    assert read_or_report(folder)


@examples(80)
@given(data=st.data())
def test_strange_file_list_with_the_right_hash_is_read_or_reported(folder, data):
    manifest = make_manifest(folder, "folder")
    files = data.draw(spoil({"1.jpg": SHA256}) | st.dictionaries(NAMES, st.sampled_from([SHA256, "0" * 64]), max_size=3))
    (folder / "files.json").write_text(json.dumps(files))
    sha256 = hashlib.sha256((folder / "files.json").read_bytes()).hexdigest()
    write_sealed_json(folder / "manifest.json", manifest | {"sha256": sha256})
    assert read_or_report(folder)


@examples(50)
@given(st.dictionaries(st.binary(min_size=1, max_size=20).map(os.fsdecode), st.just(SHA256), max_size=4))
def test_file_list_round_trip(tmp_path, files):
    fields = OTHER_FIELDS | {"where": {"Smiling": 1}, "limit": 3}
    manifest = Manifest(source="folder", archive=None, folder="/x", sha256=write_files(tmp_path, files), bytes=7, **fields)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert read_files(tmp_path, manifest) == files
