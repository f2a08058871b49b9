"""Data sets of the Hugging Face hub: the real client against a local server."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from fake_hub import COMMIT, FakeHub
from PIL import Image
from projects import ROOT

from facegan.photos.store import open_photos

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
CODE = """
import random, sys, time
from pathlib import Path
from facegan.common.errors import FaceganError
from facegan.photos.parameters import DataParameters
from facegan.photos.sources import download
time.sleep = lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.05))
import json
values = dict.fromkeys(("style", "only", "where", "limit", "labels")) | {"source": "huggingface", "count": 1} | json.loads(sys.argv[1])
try:
    download(DataParameters(**values), Path("raw"), Path("."))
except FaceganError as error:
    sys.exit(str(error))
"""


def make_photo(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 9, 9)).save(file, "PNG")
    return file.getvalue()


PHOTOS = [make_photo(number) for number in range(6)]


def make_parquet(images: list, labels: list | None = None) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table({"image": images, "smiling": labels or [0] * len(images)}), file, row_group_size=2)
    return file.getvalue()


STRUCTS = [{"bytes": photo, "path": None} for photo in PHOTOS]
README = {"README.md": b"# Faces", ".gitattributes": b"*.parquet filter=lfs"}


@pytest.fixture
def start(tmp_path):
    """Returns a function that starts a hub with files; and stops it at the end."""
    hubs = []

    def start_hub(files: dict[str, bytes], **options) -> FakeHub:
        hubs.append(FakeHub(files, **options))
        return hubs[-1]

    yield start_hub
    for hub in hubs:
        hub.stop()


def call(hub: FakeHub, folder: Path, token: str = "", **data) -> subprocess.CompletedProcess:
    values = {"path": "owner/faces"} | data
    environment = {**os.environ, **hub.environment(str(folder / "hf")), "PYTHONPATH": str(ROOT), "HF_TOKEN": token}
    return subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(values)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def read_all(folder: Path) -> dict[str, bytes]:
    photos = open_photos(folder / "raw")
    return dict(zip(photos.names, photos.read_all(), strict=True))


def get(hub: FakeHub, folder: Path, **options) -> dict[str, bytes]:
    result = call(hub, folder, **options)
    assert result.returncode == 0, result.stderr
    return read_all(folder)


def refuse(hub: FakeHub, folder: Path, **options) -> str:
    result = call(hub, folder, **options)
    assert result.returncode == 1 and result.stderr.startswith("expected ") and "; found " in result.stderr, result.stderr
    assert not (folder / "raw/manifest.json").exists()
    return result.stderr


def test_parquet_with_row_groups(start, tmp_path):
    hub = start(README | {"data/train-00000-of-00001.parquet": make_parquet(STRUCTS)})
    assert get(hub, tmp_path) == {f"{number:08d}.png": photo for number, photo in enumerate(PHOTOS)}
    manifest = open_photos(tmp_path / "raw").manifest
    assert manifest.path == f"owner/faces@{COMMIT}" and manifest.license.startswith("cc0-1.0, says https://huggingface.co/")
    assert not any(path.endswith("README.md") for _, path, *_ in hub.requests)


def test_several_parquet_files_are_folders_and_columns_are_labels(start, tmp_path):
    files = {f"data/{split}.parquet": make_parquet(STRUCTS[first : first + 3], [0, 1, 1]) for split, first in (("test", 0), ("train", 3))}
    photos = get(start(files), tmp_path, labels=["smiling"])
    assert photos == {f"data/{'test' if number < 3 else 'train'}/{number % 3:08d}.png": photo for number, photo in enumerate(PHOTOS)}
    assert open_photos(tmp_path / "raw").labels.photos["data/train/00000001.png"] == (1,)


def test_image_folder_with_metadata(start, tmp_path):
    files = README | {f"train/{number}.png": photo for number, photo in enumerate(PHOTOS)}
    hub = start(files | {"train/metadata.csv": b"file_name,smiling\n" + b"".join(b"%d.png,%d\n" % (n, n % 2) for n in range(6))})
    assert get(hub, tmp_path, labels=["smiling"]) == {f"train/{number}.png": photo for number, photo in enumerate(PHOTOS)}
    assert open_photos(tmp_path / "raw").labels.columns == {"smiling": ("0", "1")}


def test_parquet_with_paths_describes_the_image_files(start, tmp_path):
    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"file_name": ["a.png", "b.png"], "smiling": [1, 0]}), table)
    hub = start({"a.png": PHOTOS[0], "b.png": PHOTOS[1], "metadata.parquet": table.getvalue()})
    assert get(hub, tmp_path, labels=["smiling"]) == {"a.png": PHOTOS[0], "b.png": PHOTOS[1]}
    assert open_photos(tmp_path / "raw").labels.photos == {"a.png": (1,), "b.png": (0,)}


def test_archives(start, tmp_path):
    packed, tar = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/1.png", PHOTOS[0])
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        member = tarfile.TarInfo("a/1.png")
        member.size = len(PHOTOS[1])
        archive.addfile(member, io.BytesIO(PHOTOS[1]))
    hub = start({"one.zip": packed.getvalue(), "two.tar.gz": tar.getvalue(), "sample.png": PHOTOS[2]})
    assert get(hub, tmp_path) == {"one/a/1.png": PHOTOS[0], "two/a/1.png": PHOTOS[1]}


def test_revision_and_second_run_from_the_cache(start, tmp_path):
    hub = start({"faces.parquet": make_parquet(STRUCTS)})
    for revision in ("v1", COMMIT):
        get(hub, tmp_path, path=f"owner/faces@{revision}")
    assert sum(method == "GET" and path.startswith("/datasets/") for method, path, *_ in hub.requests) == 1
    assert "found no revision v2; choose a branch" in refuse(hub, tmp_path, path="owner/faces@v2")


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_token_opens_a_protected_data_set(start, tmp_path, kind):
    hub = start({"faces.parquet": make_parquet(STRUCTS)})
    setattr(hub, kind, True)
    found = {"gated": "found a gated data set; open that page", "private": "found no such data set, or a private one (401)"}[kind]
    message = refuse(hub, tmp_path)
    assert found in message and "hf auth login" in message and "hf_secret" not in message
    assert len(get(hub, tmp_path, token="hf_secret")) == 6


@pytest.mark.parametrize(
    ("path", "found"), [("owner/missing", "found no such data set, or a private one (401)"), ("owner/faces@a b", None), ("faces", None)]
)
def test_missing_data_set_and_invalid_path_are_reported(start, tmp_path, path, found):
    result = call(start({}), tmp_path, path=path)
    assert result.returncode == 1 and (found or "owner/dataset") in result.stderr


def test_cut_transfer_resumes(start, tmp_path):
    hub = start({"faces.parquet": make_parquet([{"bytes": os.urandom(12_000_000), "path": "a.jpg"}, *STRUCTS])})
    hub.cuts = [11_000_000]  # the client writes 10 MB at a time
    assert len(get(hub, tmp_path)) == 7
    assert [part for part in hub.ranges() if part.startswith("bytes=1")]


def test_temporary_refusals_are_retried_and_others_are_not(start, tmp_path):
    hub = start({"faces.parquet": make_parquet(STRUCTS)})
    hub.refusals = [(429, {"Retry-After": "1"}), (503, {})]
    assert len(get(hub, tmp_path)) == 6
    shutil.rmtree(tmp_path / "raw")
    hub.refusals = [(403, {})]
    assert "(403)" in refuse(hub, tmp_path) and not hub.refusals


def test_unreachable_hub_is_reported(start, tmp_path):
    hub = start({})
    hub.stop()
    assert "6 times; run the same command again to resume" in refuse(hub, tmp_path)


@pytest.mark.parametrize("name", ["faces.parquet", "train/0.png"])
def test_wrong_content_is_downloaded_again_once(start, tmp_path, name):
    files = {"faces.parquet": make_parquet(STRUCTS)} if name == "faces.parquet" else {"train/0.png": PHOTOS[0], "train/1.png": PHOTOS[1]}
    hub = start(files)
    hub.wrong = {name: 1}
    assert len(get(hub, tmp_path)) == (6 if name == "faces.parquet" else 2)
    shutil.rmtree(tmp_path / "hf")
    shutil.rmtree(tmp_path / "raw")
    hub.wrong = {name: 2}
    assert "undamaged; found other content in 2 downloads" in refuse(hub, tmp_path)


def test_data_set_without_images_is_reported(start, tmp_path):
    assert "expected photos in " in refuse(start(README), tmp_path)
