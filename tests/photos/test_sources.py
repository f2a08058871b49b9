"""The stage download with avatars, a folder and an archive. Kaggle is tested in test_kaggle.py."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from projects import change_params, copy_project, run_stage
from raw_photos import SOURCES, fill_raw, write_folder, write_zip

from facegan.common.config import ConfigurationError
from facegan.common.errors import FaceganError
from facegan.photos.parameters import DataParameters
from facegan.photos.sources.avatars import SEED, draw_avatars, draw_faces, label_faces
from facegan.photos.store import open_photos
from presets import read_preset


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    """A copy of the project for one test."""
    return Path(shutil.copytree(original, tmp_path / "home" / "project"))


def download(project: Path, *arguments: str, **data: Any) -> str:
    """Runs the stage, which must succeed, and returns its output."""
    change_params(project, "data", **data)
    run = run_stage(project, "download", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def refuse(project: Path, *arguments: str, **data: Any) -> str:
    """Runs the stage, which must fail with a one-line error and without a manifest, and returns the error."""
    change_params(project, "data", **data)
    run = run_stage(project, "download", *arguments)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1, run.stderr
    assert not (project / "data/raw/manifest.json").exists()
    return run.stderr


def make_photo(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, format="PNG")
    return file.getvalue()


PHOTOS = {f"faces/{number}.png": make_photo(number) for number in range(3)}


def read_manifest(project: Path) -> dict[str, Any]:
    return json.loads((project / "data/raw/manifest.json").read_text())


def test_avatars_do_not_depend_on_the_number_of_processes(tmp_path):
    digests = set()
    for processes in (1, 2):
        raw = tmp_path / str(processes)
        raw.mkdir()
        parameters = DataParameters(source="avatars", path=None, count=120, style=None, only=None, where=None, limit=None, labels=None)
        digests.add(draw_avatars(parameters, raw, tmp_path, processes).sha256)
    assert len(digests) == 1


def test_avatar_depends_only_on_seed_and_number():
    assert draw_faces(seed=0, first=2, count=2) == draw_faces(seed=0, first=0, count=4)[2:]
    assert not set(draw_faces(seed=0, first=0, count=8)) & set(draw_faces(seed=1, first=0, count=8))


def test_avatars_are_opaque_and_vary():
    drawn = [Image.open(io.BytesIO(face)) for face in draw_faces(seed=0, first=0, count=64)]
    assert {(face.mode, face.size) for face in drawn} == {("RGB", (96, 96))}
    faces = np.stack([np.asarray(face, dtype=float) for face in drawn])  # (64, 96, 96, 3)
    assert len(np.unique(faces.reshape(64, -1), axis=0)) == 64
    assert len(np.unique(faces[:, 60, 30], axis=0)) >= 6  # skin and beard colours
    assert len(np.unique(faces[:, 2, 2], axis=0)) >= 6  # background and hair colours
    assert (faces.std(axis=0).mean(axis=2)[20:80, 20:76] > 10).all()  # every pixel of the face varies


STYLES = ("lorelei", "pixel-art", "adventurer")


def test_styles_of_dicebear_are_drawn_with_their_parts_as_labels(tmp_path):
    pytest.importorskip("dicebear", reason="needs dicebear-core and dicebear-styles")
    values = {"source": "avatars", "path": None, "count": 30, "only": None, "where": None, "limit": None, "labels": ("style", "glasses")}
    manifest = draw_avatars(DataParameters(style=STYLES, **values), tmp_path, tmp_path, processes=2)
    assert "lorelei by Lisa Wischofsky, CC0 1.0" in manifest.license and "adventurer by Lisa Wischofsky, CC BY 4.0" in manifest.license
    assert manifest.images == 30 and len(set(draw_faces(SEED, 0, 30, STYLES))) == 30
    head, *rows = csv.reader(label_faces(SEED, 300, STYLES).decode().splitlines())
    faces = [dict(zip(head, row, strict=True)) for row in rows]
    assert {face["style"] for face in faces} == set(STYLES)
    assert all((face["hat"] == "") == (face["style"] != "pixel-art") for face in faces)  # no such part
    assert 0 < sum(face["glasses"] == "none" for face in faces) < 300
    with pytest.raises(FaceganError, match="found loreley"):
        draw_avatars(DataParameters(style=("loreley",), **values), tmp_path, tmp_path)


def test_stage_draws_avatars(project):
    output = download(project, count=5)
    assert (
        "5 photos" in output and "dvc" not in output and "licence: drawn by python_avatars" in output and "data/raw/manifest.json" in output
    )
    manifest, archive = read_manifest(project), project / "data/raw/photos.zip"
    assert manifest["source"] == "avatars" and manifest["images"] == 5
    assert manifest["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert manifest["bytes"] == archive.stat().st_size
    with zipfile.ZipFile(archive) as members:
        assert {member.date_time for member in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    download(project, count=5)
    assert read_manifest(project) == manifest


def test_a_path_in_which_dvc_cannot_queue_is_reported(project):
    assert "dvc queue" in download(project.rename(project.with_name("Gesichter für später")), count=1)


def test_archive_is_copied_and_the_original_unchanged(project):
    given = write_zip(project.parent / "mine.zip", PHOTOS)
    before = given.stat()
    output = download(project, source="archive", path="../mine.zip")
    assert "3 photos" in output and "licence:" in output
    assert (project / "data/raw/photos.zip").read_bytes() == given.read_bytes()
    assert not os.path.samefile(given, project / "data/raw/photos.zip")
    assert (given.stat().st_mode, given.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert open_photos(project / "data/raw").names == list(PHOTOS)


def test_folder_is_listed_again_by_each_download(project):
    given = write_folder(project.parent / "mine", PHOTOS)
    output = download(project, source="folder", path="../mine")
    assert "3 photos" in output and "../mine" in output
    before = read_manifest(project)
    assert before["folder"] == "../mine"
    assert list(open_photos(project / "data/raw", project).read_all()) == list(PHOTOS.values())
    (given / "new.png").write_bytes(make_photo(9))
    assert "4 photos" in download(project)
    assert read_manifest(project)["sha256"] != before["sha256"]


@pytest.mark.parametrize(("source", "write"), [("folder", write_folder), ("archive", write_zip)])
def test_relative_path_in_an_experiments_copy_starts_at_the_project(project, source, write):
    write(project / "mine", PHOTOS)
    copy = Path(shutil.copytree(project, project / ".dvc/tmp/exps/tmp12345", ignore=shutil.ignore_patterns(".dvc", "mine")))
    download(copy, source=source, path="mine")
    assert len(list(open_photos(copy / "data/raw", project).read_all())) == 3


def test_photos_are_found_after_the_project_has_moved(project):
    write_folder(project / "mine", PHOTOS)
    download(project, source="folder", path="mine")
    assert str(project) not in (project / "data/raw/manifest.json").read_text()
    moved = project.rename(project.with_name("moved"))
    result = run_stage(moved, "preprocess", "--workers", "1")
    assert (moved / "data/shards/index.json").is_file(), result.stderr


def test_absolute_path_and_output_option(project, tmp_path):
    given = write_zip(tmp_path / "mine.zip", PHOTOS)
    assert "3 photos" in download(project, "--out", str(tmp_path / "out"), source="archive", path=str(given))
    assert len(open_photos(tmp_path / "out").names) == 3
    assert not (project / "data").exists()


def test_output_folder_with_other_files_is_refused(project, tmp_path):
    kept = write_folder(tmp_path / "pictures", PHOTOS)
    assert "expected an empty folder or an earlier download" in refuse(project, "--out", str(kept), count=1)
    assert (kept / "faces/0.png").read_bytes() == PHOTOS["faces/0.png"]


def test_download_replaces_an_earlier_one(project):
    download(project, count=1)
    write_folder(project / "mine", PHOTOS)
    download(project, source="folder", path="mine")
    assert sorted(path.name for path in (project / "data/raw").iterdir()) == ["files.json", "manifest.json"]


def test_failed_download_removes_the_earlier_manifest(project):
    download(project, count=1)
    assert "expected an archive" in refuse(project, source="archive", path="missing.zip")


@SOURCES
def test_missing_path_is_reported(project, source):
    assert f"at {project / 'missing'}; found none" in refuse(project, source=source, path="missing")


@pytest.mark.parametrize(("source", "write"), [("folder", write_folder), ("archive", write_zip)])
def test_source_without_photos_is_reported(project, source, write):
    write(project / "mine", {"notes.txt": b"not a photo"})
    assert "expected photos in mine; found none" in refuse(project, source=source, path="mine")


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_truncated_archive_is_reported(project, kept):
    content = write_zip(project / "mine.zip", PHOTOS).read_bytes()
    (project / "mine.zip").write_bytes(content[: int(len(content) * kept)])
    assert "mine.zip" in refuse(project, source="archive", path="mine.zip")


def test_other_file_as_archive_is_reported(project):
    (project / "mine.zip").write_bytes(make_photo(0))
    assert "expected a zip archive in" in refuse(project, source="archive", path="mine.zip")


def test_damaged_photo_in_archive_is_reported(project):
    given = write_zip(project / "mine.zip", PHOTOS, zipfile.ZIP_STORED)
    content = bytearray(given.read_bytes())
    content[content.index(make_photo(1)) + 20] ^= 1
    given.write_bytes(content)
    message = refuse(project, source="archive", path="mine.zip")
    assert "expected faces/1.png in" in message and "Bad CRC-32" in message


def read_data(**data: Any) -> DataParameters:
    return read_preset("demo", data={"labels": None} | data).data


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"source": "folder"}, "data.path: expected a folder of photos for the source folder; found null"),
        ({"source": "archive"}, "data.path: expected an archive for the source archive; found null"),
        ({"source": "kaggle"}, "data.path: expected Kaggle's owner/dataset for the source kaggle; found null"),
        ({"source": "kaggle", "path": "faces"}, "data.path: expected owner/dataset"),
        ({"source": "web"}, "data.source: "),
        ({"count": 0}, "data.count: "),
        ({"source": "folder", "path": "photos", "style": ["lorelei"]}, "data.style: "),
        ({"limit": 0}, "data.limit: "),
    ],
)
def test_invalid_parameters_are_reported(data, problem):
    with pytest.raises(ConfigurationError) as caught:
        read_data(**data)
    assert problem in str(caught.value)


def test_valid_parameters():
    data = {"source": "folder", "path": "mine", "only": "faces/**", "where": {"Smiling": 1, "Male": -1}, "limit": 7}
    assert read_data(**data) == DataParameters(count=4000, style=None, labels=None, **data)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
        (b"Rar!\x1a\x07\x01", "a RAR archive; unpack it"),
        (b"\n<!DOCTYPE HTML><html>Sign in", "an HTML page, not the file; open its address in a browser"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer, not the file; run `git lfs pull`"),
        (b"PK\x07\x08PK\x03\x04", "one part of a split zip file; join its parts"),
    ],
)
def test_other_kinds_of_files_are_named(tmp_path, content, found):
    (tmp_path / "photos.zip").write_bytes(content)
    with pytest.raises(FaceganError, match=re.escape(f"found {found}")):
        fill_raw(tmp_path, "archive", "photos.zip")


def test_large_archive_with_wrong_sizes_must_be_unpacked(tmp_path):
    write_zip(tmp_path / "a.zip", {"a.jpg": b"photo"})
    with (tmp_path / "a.zip").open("r+b") as file:
        content = file.read()
        file.truncate(1 << 32)  # no disk space is used
        file.seek(0, 2)
        file.write(content[content.index(b"PK\x01\x02") :])  # its offsets are modulo 4 GB
    with pytest.raises(FaceganError, match="over 4 GB with wrong sizes: unpack it"):
        fill_raw(tmp_path, "archive", "a.zip")


def test_all_archives_in_a_folder_are_read(tmp_path):
    for part in (1, 2):
        write_zip(tmp_path / f"takeout/takeout-{part}.zip", {"Takeout/a.jpg": b"photo %d" % part, "Takeout/a.mov": b"video"})
    photos = open_photos(fill_raw(tmp_path, "archive", "takeout"))
    assert photos.names == ["takeout-1/Takeout/a.jpg", "takeout-2/Takeout/a.jpg"]
    assert list(photos.read_all()) == [b"photo 1", b"photo 2"] and photos.manifest.left_out == {".mov": 2}


def test_backslashes_in_an_archive_separate_folders(tmp_path):
    files = {f"celeba\\img\\{number:03d}.jpg": b"photo %d" % number for number in range(3)}
    files |= {"celeba\\list_eval_partition.csv": b"image_id,partition\n000.jpg,0\n001.jpg,1\n002.jpg,2\n", "__MACOSX\\._000.jpg": b"fork"}
    write_zip(tmp_path / "a.zip", files)
    photos = open_photos(fill_raw(tmp_path, "archive", "a.zip", only="celeba/*"))
    assert photos.names == [f"celeba/img/{number:03d}.jpg" for number in range(3)]
    assert photos.read_partition() == {"000.jpg": 0, "001.jpg": 1, "002.jpg": 2} and photos.manifest.left_out == {"hidden": 1}
    assert list(photos.read_all()) == [b"photo 0", b"photo 1", b"photo 2"]
