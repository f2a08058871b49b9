"""The stage download with photos that are drawn, loose in a folder, or in a zip; Kaggle has test_kaggle.py to itself."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from projects import copy_project, run_stage

from facegan.common.config import ConfigurationError, read_yaml
from facegan.photos.sources import DataParameters
from facegan.photos.sources.avatars import draw_avatars, draw_faces
from facegan.photos.store import open_photos
from presets import read_preset


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def project(original: Path, tmp_path: Path) -> Path:
    """A copy of the project for one test, which stands below a person's folder."""
    return Path(shutil.copytree(original, tmp_path / "person" / "project"))


def set_data(project: Path, **data: Any) -> None:
    """Changes the copy's section data."""
    params = read_yaml(project / "params.yaml")
    params["data"] |= data
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def download(project: Path, *arguments: str, **data: Any) -> str:
    """Runs the stage, which must succeed, and returns what it prints."""
    set_data(project, **data)
    run = run_stage(project, "download", *arguments)
    assert run.returncode == 0, run.stderr
    return run.stdout


def refuse(project: Path, *arguments: str, **data: Any) -> str:
    """Runs the stage, which must fail with one clear line and without a manifest, and returns that line."""
    set_data(project, **data)
    run = run_stage(project, "download", *arguments)
    assert run.returncode == 1
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1, run.stderr
    assert not (project / "data/raw/manifest.json").exists()
    return run.stderr


def make_photo(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, format="PNG")
    return file.getvalue()


def make_zip(path: Path, count: int = 3) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"faces/{number}.png", make_photo(number))
    return path


def make_folder(path: Path, count: int = 3) -> Path:
    (path / "deeper").mkdir(parents=True)
    for number in range(count):
        (path / "deeper" / f"{number}.png").write_bytes(make_photo(number))
    return path


def read_manifest(project: Path) -> dict[str, Any]:
    return json.loads((project / "data/raw/manifest.json").read_text())


def test_avatars_are_the_same_bytes_for_any_number_of_processes(tmp_path):
    digests = set()
    for processes in (1, 2):
        raw = tmp_path / str(processes)
        raw.mkdir()
        parameters = DataParameters(source="avatars", path=None, count=120, only=None, where=None, limit=None)
        digests.add(draw_avatars(parameters, raw, tmp_path, processes).sha256)
    assert len(digests) == 1


def test_each_avatar_depends_on_seed_and_number_alone():
    assert draw_faces(seed=0, first=2, count=2) == draw_faces(seed=0, first=0, count=4)[2:]
    assert not set(draw_faces(seed=0, first=0, count=8)) & set(draw_faces(seed=1, first=0, count=8))


def test_avatars_are_opaque_pictures_of_faces_that_vary():
    drawn = [Image.open(io.BytesIO(face)) for face in draw_faces(seed=0, first=0, count=64)]
    assert {(face.mode, face.size) for face in drawn} == {("RGB", (96, 96))}
    faces = np.stack([np.asarray(face, dtype=float) for face in drawn])  # (64, 96, 96, 3)
    assert len(np.unique(faces.reshape(64, -1), axis=0)) == 64
    cheeks = np.unique(faces[:, 60, 30].round(), axis=0)  # (K, 3): skins, and beards before some of them
    assert len(cheeks) >= 6
    corners = np.unique(faces[:, 2, 2], axis=0)  # (K, 3): grounds, and hair before some of them
    assert len(corners) >= 6
    assert (faces.std(axis=0).mean(axis=2)[20:80, 20:76] > 10).all()  # no pixel of the face is the same in all


def test_the_stage_draws_avatars_and_says_so(project):
    told = download(project, count=5)
    assert "5 photos" in told and "licence: drawn by python_avatars" in told and "data/raw/manifest.json" in told
    manifest, archive = read_manifest(project), project / "data/raw/photos.zip"
    assert manifest["source"] == "avatars" and manifest["images"] == 5
    assert manifest["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert manifest["bytes"] == archive.stat().st_size
    with zipfile.ZipFile(archive) as members:
        assert {member.date_time for member in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    download(project, count=5)
    assert read_manifest(project) == manifest


def test_an_archive_comes_whole_and_leaves_the_persons_own_alone(project):
    given = make_zip(project.parent / "mine.zip")
    before = given.stat()
    told = download(project, source="archive", path="../mine.zip")
    assert "3 photos" in told and "licence:" in told
    assert (project / "data/raw/photos.zip").read_bytes() == given.read_bytes()
    assert not os.path.samefile(given, project / "data/raw/photos.zip")
    assert (given.stat().st_mode, given.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert open_photos(project / "data/raw").names == [f"faces/{number}.png" for number in range(3)]


def test_a_folder_is_listed_where_it_lies(project):
    given = make_folder(project.parent / "mine")
    told = download(project, source="folder", path="../mine")
    assert "3 photos" in told and str(given) in told
    assert read_manifest(project)["folder"] == str(given)
    photos = open_photos(project / "data/raw")
    assert list(photos.read_all()) == [make_photo(number) for number in range(3)]
    (given / "new.png").write_bytes(make_photo(9))
    before = read_manifest(project)["sha256"]
    assert "4 photos" in download(project)
    assert read_manifest(project)["sha256"] != before


@pytest.mark.parametrize(("source", "make"), [("folder", make_folder), ("archive", make_zip)])
def test_in_an_experiments_copy_a_relative_path_starts_at_the_real_project(project, source, make):
    given = make(project / "mine")
    copy = Path(shutil.copytree(project, project / ".dvc/tmp/exps/tmp12345", ignore=shutil.ignore_patterns(".dvc", "mine")))
    download(copy, source=source, path="mine")
    assert open_photos(copy / "data/raw").manifest.folder == (str(given) if source == "folder" else None)


def test_an_absolute_path_and_another_output(project, tmp_path):
    given = make_zip(tmp_path / "mine.zip")
    assert "3 photos" in download(project, "--out", str(tmp_path / "out"), source="archive", path=str(given))
    assert len(open_photos(tmp_path / "out").names) == 3
    assert not (project / "data").exists()


def test_an_output_folder_with_other_files_is_left_alone(project, tmp_path):
    kept = make_folder(tmp_path / "pictures")
    assert "expected an empty folder, or an earlier download" in refuse(project, "--out", str(kept), count=1)
    assert (kept / "deeper/0.png").read_bytes() == make_photo(0)


def test_a_new_download_takes_the_place_of_the_old(project):
    download(project, count=1)
    make_folder(project / "mine")
    download(project, source="folder", path="mine")
    assert sorted(path.name for path in (project / "data/raw").iterdir()) == ["files.json", "manifest.json"]


def test_a_failed_download_leaves_no_manifest_of_the_old(project):
    download(project, count=1)
    assert "expected a zip file" in refuse(project, source="archive", path="missing.zip")


@pytest.mark.parametrize("source", ["folder", "archive"])
def test_a_missing_path_is_told(project, source):
    told = refuse(project, source=source, path="nowhere")
    assert "found none; a relative path starts at the project's folder" in told and str(project / "nowhere") in told


def test_a_folder_without_photos_is_told(project):
    (project / "mine").mkdir()
    (project / "mine/notes.txt").write_text("no photo")
    assert "expected photos in mine; found none" in refuse(project, source="folder", path="mine")


def test_a_zip_without_photos_is_told(project):
    make_zip(project / "empty.zip", count=0)
    assert "expected photos in empty.zip; found none" in refuse(project, source="archive", path="empty.zip")


def test_what_is_no_zip_is_told(project):
    (project / "mine.zip").write_bytes(make_photo(0))
    assert "expected a zip archive in" in refuse(project, source="archive", path="mine.zip")


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_a_zip_that_was_cut_is_told(project, keep):
    content = make_zip(project / "mine.zip").read_bytes()
    (project / "mine.zip").write_bytes(content[: int(len(content) * keep)])
    assert "mine.zip" in refuse(project, source="archive", path="mine.zip")


def test_a_zip_with_a_damaged_member_is_told(project):
    given = make_zip(project / "mine.zip")
    content = bytearray(given.read_bytes())
    content[content.index(make_photo(1)) + 20] ^= 1
    given.write_bytes(content)
    told = refuse(project, source="archive", path="mine.zip")
    assert "expected faces/1.png in" in told and "found damage (Bad CRC-32" in told


def read_data(**data: Any) -> DataParameters:
    return read_preset("demo", data=data).data


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"source": "folder"}, "data.path: expected a folder of photos for the source folder; found null"),
        ({"source": "archive"}, "data.path: expected a zip file for the source archive; found null"),
        ({"source": "kaggle"}, "data.path: expected Kaggle's owner/dataset for the source kaggle; found null"),
        ({"source": "kaggle", "path": "faces"}, "data.path: expected owner/dataset"),
        ({"source": "web"}, "data.source: expected 'avatars', 'kaggle', 'folder' or 'archive'; found 'web'"),
        ({"count": 0}, "data.count: expected greater than or equal to 1; found 0"),
        ({"limit": 0}, "data.limit: expected a number of at least 1"),
    ],
)
def test_impossible_parameters_are_told(data, told):
    with pytest.raises(ConfigurationError) as caught:
        read_data(**data)
    assert told in str(caught.value)


def test_parameters_as_given():
    data = {"source": "folder", "path": "mine", "only": "faces/**", "where": {"Smiling": 1, "Male": -1}, "limit": 7}
    assert read_data(**data) == DataParameters(count=4000, **data)
