"""The stage preprocess: what goes into the shards, what stays out, and that neither depends on the machine's cores."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import drawn_faces
import numpy as np
import psutil
import pytest
import yaml
from drawn_faces import draw_photo
from PIL import Image
from projects import ROOT, start_stage
from sklearn.datasets import load_sample_image

from facegan.common.config import ConfigurationError, read_yaml
from facegan.common.errors import FaceganError
from facegan.common.shards import Index, open_split
from facegan.parameters import read_parameters
from facegan.photos.manifest import Manifest, write_files, write_manifest
from facegan.photos.parameters import DataParameters
from facegan.photos.sources import download
from facegan.preprocessing.advice import advise_on_number
from facegan.preprocessing.parameters import PreprocessParameters
from facegan.preprocessing.preprocess import choose_split, preprocess

SIZE = 28
FACE = {"template": "ffhq", "margin": 0.0, "faces": "largest", "min_face_pixels": 28}
EMPTY_REPORT = {"photos": 0, "pictures": 0, "duplicates": [], "unreadable": [], "faces_left_out": [], "files_left_out": {}}


def parameters(**changes) -> PreprocessParameters:
    return PreprocessParameters(
        **{"resolution": SIZE, "crop": "none", **FACE, "filter": "lanczos", "holdout": 0.25, "max_bad": 0.0} | changes
    )


def encode(picture: np.ndarray, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format, **options)
    return file.getvalue()


def draw(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)  # (H, W, 3)


def draw_photos(count: int, size: int = SIZE) -> dict[str, bytes]:
    return {f"photos/{number:04d}.png": encode(draw(number, size)) for number in range(count)}


def make_raw(folder: Path, photos: dict[str, bytes], limit: int | None = None, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Returns ``folder``, filled as the download stage leaves data/raw: an archive of these files, and its manifest."""
    folder.mkdir(parents=True)
    archive = folder / "photos.zip"
    with zipfile.ZipFile(archive, "w", compression) as file:
        for name, content in photos.items():
            file.writestr(zipfile.ZipInfo(name), content, compression)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    place = {
        "source": "archive",
        "path": "photos.zip",
        "archive": archive.name,
        "folder": None,
        "sha256": sha256,
        "bytes": archive.stat().st_size,
    }
    write_manifest(folder, Manifest(**place, images=len(photos), license="", limit=limit))
    return folder


def run(tmp_path: Path, photos: dict[str, bytes], limit: int | None = None, workers: int = 1, **changes) -> tuple[Path, Index]:
    """Returns the shards' folder and their index after preprocessing these photos."""
    place = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    out = place / "shards"
    return out, preprocess(make_raw(place / "raw", photos, limit), parameters(**changes), out, workers).index


def read_report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def read_split(out: Path, split: str) -> set[bytes]:
    """Returns the split's pictures, as bytes (3, H, W)."""
    return {image.numpy().tobytes() for images in open_split(out, split) for image in images}


def chw(picture: np.ndarray) -> bytes:
    return picture.transpose(2, 0, 1).tobytes()


def read_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_every_photo_lands_in_the_shards_in_the_order_of_names(tmp_path):
    names = [f"{number}.png" for number in (3, 10, 2, 1)]
    out, index = run(tmp_path, {name: encode(draw(seed)) for seed, name in enumerate(names)}, holdout=0.0)
    (images,) = open_split(out, "train")
    assert [image.numpy().tobytes() for image in images] == [chw(draw(seed)) for seed in (3, 1, 2, 0)]  # 1, 10, 2, 3
    assert (index.train, index.holdout, index.resolution, index.crop, index.filter) == (4, 0, SIZE, "none", "lanczos")
    assert index.source_fingerprint == hashlib.sha256((out.parent / "raw/photos.zip").read_bytes()).hexdigest()
    assert read_report(out) == EMPTY_REPORT | {"photos": 4, "pictures": 4}


def test_any_number_of_workers_gives_the_same_bytes(tmp_path):
    photos = draw_photos(150, 40)  # three pieces
    photos |= {"photos/0007b.png": photos["photos/0007.png"], "photos/0100b.jpg": b"broken"}
    results = [read_files(run(tmp_path, photos, workers=workers, crop=(2, 3, 40, 40), max_bad=0.1)[0]) for workers in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert sorted(results[0]) == ["holdout-00000.safetensors", "index.json", "preview.png", "report.json", "train-00000.safetensors"]


def test_duplicates_are_dropped_by_what_they_show(tmp_path):
    picture = draw(0)
    photos = {
        "a.png": encode(picture),
        "b.png": encode(picture, compress_level=1),
        "c.bmp": encode(picture, "BMP"),
        "d.png": encode(draw(1)),
        "e.png": encode(picture),
    }
    out, index = run(tmp_path, photos)
    assert index.train + index.holdout == 2
    dropped = [{"name": name, "same_as": "a.png"} for name in ("b.png", "c.bmp", "e.png")]
    assert read_report(out)["duplicates"] == dropped


def test_unreadable_photos_are_listed_until_there_are_too_many(tmp_path):
    photos = draw_photos(8) | {"bad.jpg": encode(draw(1), "JPEG")[:-200], "worse.png": b"no picture"}
    out, index = run(tmp_path, photos, max_bad=0.2)
    assert index.train + index.holdout == 8
    listed = read_report(out)["unreadable"]
    assert [entry["name"] for entry in listed] == ["bad.jpg", "worse.png"]
    assert "truncated" in listed[0]["reason"] and listed[1]["reason"] == "no picture in a format that is read"
    with pytest.raises(
        FaceganError, match=r"at most 19\.0% .* found 2 of 10, first bad\.jpg \(.*truncated.*\); see .*shards-failed/report\.json.*max_bad"
    ):
        run(tmp_path, photos, max_bad=0.19)
    assert len(read_report(tmp_path / "run1/shards-failed")["unreadable"]) == 2
    assert not (tmp_path / "run1/shards").exists()


def test_celebas_list_decides_and_a_hash_where_it_is_silent(tmp_path):
    rows = ["image_id,partition", *(f"{number:04d}.png,{number % 3}" for number in range(30))]
    photos = draw_photos(40) | {"list_eval_partition.csv": "\n".join(rows).encode()}
    out, index = run(tmp_path, photos)
    train, holdout = read_split(out, "train"), read_split(out, "holdout")
    listed = [chw(draw(number)) for number in range(30)]
    assert set(listed[0::3]) <= train and set(listed[1::3]) | set(listed[2::3]) <= holdout
    assert index.train + index.holdout == 40 and 10 < index.train < 20


def test_a_photo_keeps_its_side_under_other_names_sizes_and_company(tmp_path):
    photos = {f"{number}.png": encode(np.full((40, 40, 3), number, np.uint8)) for number in range(200)}

    def find_held_out(photos: dict[str, bytes], **changes) -> set[int]:
        out, _ = run(tmp_path, photos, **changes)
        return {picture[0] for picture in read_split(out, "holdout")}

    held_out = find_held_out(photos)
    assert 30 <= len(held_out) <= 70  # a quarter of 200, give or take three standard deviations
    assert find_held_out(photos, resolution=64, crop=(0, 0, 30, 40), filter="box") == held_out
    renamed = {f"other/{199 - number}.png": photos[f"{number}.png"] for number in range(100)}
    assert find_held_out(renamed) == {number for number in held_out if number < 100}


def test_a_larger_holdout_holds_the_smaller_one():
    shares = np.random.default_rng(0).uniform(0, 1, 1000)
    held_out = [{share for share in shares if choose_split(None, share, holdout) == "holdout"} for holdout in (0.0, 0.1, 0.5)]
    assert held_out[0] == set() and held_out[1] < held_out[2]
    assert [choose_split(partition, 0.0, 0.9) for partition in (0, 1, 2)] == ["train", "holdout", "holdout"]


def test_a_limit_takes_the_first_names(tmp_path):
    out, _ = run(tmp_path, draw_photos(20), limit=6, holdout=0.0)
    assert read_split(out, "train") == {chw(draw(number)) for number in range(6)}


def test_a_box_that_leaves_a_photo_stops_the_stage_and_names_it(tmp_path):
    photos = draw_photos(70, 40) | {"photos/0066.png": encode(draw(0, 39))}
    with pytest.raises(FaceganError, match=r"expected the crop box \[0, 0, 40, 40\].* found photos/0066\.png of 39×39"):
        run(tmp_path, photos, crop=(0, 0, 40, 40), max_bad=1.0)


def test_the_preview_is_spread_evenly_over_what_is_trained_on(tmp_path):
    out, _ = run(tmp_path, draw_photos(73), holdout=0.0)
    grid = np.asarray(Image.open(out / "preview.png"))
    assert grid.shape == (5 * SIZE, 5 * SIZE, 3)
    for place in range(25):
        row, column = divmod(place, 5)
        assert (grid[row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE] == draw(3 * place)).all()
    few, _ = run(tmp_path, draw_photos(3), holdout=0.0)
    grid = np.asarray(Image.open(few / "preview.png"))
    assert (grid[:SIZE, 3 * SIZE :] == 255).all() and (grid[SIZE:] == 255).all()


def test_nothing_to_train_on_is_told(tmp_path):
    photos = draw_photos(2) | {"list_eval_partition.csv": b"image_id,partition\n0000.png,2\n0001.png,1\n"}
    with pytest.raises(FaceganError, match="expected photos to train on; found all held out"):
        run(tmp_path, photos)
    with pytest.raises(FaceganError, match="expected photos; found none"):
        run(tmp_path, {"readme.txt": b"nothing here"})


def test_loose_photos_and_stored_ones_give_the_same_pictures(tmp_path):
    photos = draw_photos(12)
    loose, raw = tmp_path / "loose", tmp_path / "raw"
    (loose / "photos").mkdir(parents=True)
    raw.mkdir()
    for name, content in photos.items():
        (loose / name).write_bytes(content)
    sha256 = write_files(raw, {name: hashlib.sha256(content).hexdigest() for name, content in photos.items()})
    place = {"source": "folder", "path": "loose", "archive": None, "folder": str(loose), "sha256": sha256, "bytes": 0}
    write_manifest(raw, Manifest(**place, images=12, license="", limit=None))
    stored = make_raw(tmp_path / "stored", photos, compression=zipfile.ZIP_STORED)
    indexes = [preprocess(place, parameters(), tmp_path / f"{place.name}-shards", 2).index for place in (raw, stored)]
    assert [shard.sha256 for shard in indexes[0].shards] == [shard.sha256 for shard in indexes[1].shards]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"resolution": 27}, "preprocess.resolution: expected a number of at least 28; found 27"),
        ({"resolution": 513}, "preprocess.resolution: expected a number of at most 512; found 513"),
        ({"crop": "centre"}, "preprocess.crop: expected none, square or face or a list"),
        ({"crop": [10, 0, 10, 20]}, "preprocess.crop: expected a box [left, top, right, bottom] with 0 <= left < right"),
        ({"crop": [-1, 0, 10, 20]}, "preprocess.crop: expected a box [left, top, right, bottom] with 0 <= left < right"),
        ({"crop": [0, 0, 10]}, "preprocess.crop: expected none, square or face or a list of 4; found [0, 0, 10]"),
        ({"filter": "nearest"}, "preprocess.filter: expected lanczos, bicubic, bilinear or box; found 'nearest'"),
        ({"holdout": 1.0}, "preprocess.holdout: expected a number of at most 0.9; found 1.0"),
        ({"template": "celebs"}, "preprocess.template: expected celeba or ffhq; found 'celebs'"),
        ({"margin": -0.5}, "preprocess.margin: expected a number of at least -0.2; found -0.5"),
        ({"faces": "first"}, "preprocess.faces: expected largest or all; found 'first'"),
        ({"min_face_pixels": 0}, "preprocess.min_face_pixels: expected a number of at least 8; found 0"),
        ({"max_bad": 2}, "preprocess.max_bad: expected a number of at most 1; found 2"),
    ],
)
def test_impossible_parameters_are_told(tmp_path, changes, problem):
    with pytest.raises(ConfigurationError) as caught:
        read_parameters(write_params(tmp_path / "params.yaml", **changes))
    assert problem in str(caught.value) and len(caught.value.problems) == 1


def run_script(*arguments: str) -> tuple[int, str, str]:
    process = start_stage(ROOT, "preprocess", *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def write_params(path: Path, **changes) -> Path:
    params = read_yaml(ROOT / "params.yaml")
    params["preprocess"] |= changes
    path.write_text(yaml.safe_dump(params))
    return path


def test_the_script_says_what_it_made_and_where(tmp_path):
    raw, out = make_raw(tmp_path / "raw", draw_photos(30)), tmp_path / "shards"
    params = write_params(tmp_path / "params.yaml", resolution=48, crop="square")
    status, printed, errors = run_script("--params", str(params), "--raw", str(raw), "--out", str(out), "--workers", "2")
    assert (status, errors) == (0, "")
    assert "pictures of 48 px to train on" in printed and str(out) in printed and "preview.png" in printed
    assert sum(len(images) for split in ("train", "holdout") for images in open_split(out, split)) == 30


def test_the_script_fails_in_one_line(tmp_path):
    raw, out = make_raw(tmp_path / "raw", draw_photos(4)), tmp_path / "shards"
    boxed = write_params(tmp_path / "params.yaml", crop=[0, 0, 100, 100])
    for arguments, problem in (
        (("--raw", str(tmp_path / "nowhere")), "manifest.json"),
        (("--raw", str(raw), "--params", str(boxed)), "change preprocess.crop"),
        (("--raw", str(raw), "--workers", "0"), "expected at least 1 in --workers; found 0"),
    ):
        status, _, errors = run_script("--out", str(out), *arguments)
        assert status == 1 and errors.startswith("error: ") and errors.count("\n") == 1 and problem in errors
        assert not (out / "index.json").exists()


def start_slow_stage(tmp_path: Path, cpu_seconds: float = 0.4):
    """Starts the stage on work for many seconds, and returns it and its processes once two have used so much CPU: 0.4 is amid work."""
    slow = encode(np.zeros((4000, 4000, 3), np.uint8), "JPEG")
    raw = make_raw(tmp_path / "raw", {f"{number:03d}.jpg": slow for number in range(200)}, compression=zipfile.ZIP_STORED)
    stage = start_stage(ROOT, "preprocess", "--raw", str(raw), "--out", str(tmp_path / "shards"), "--workers", "2")
    deadline, children = time.monotonic() + 60, []
    while sum(child.cpu_times().user > cpu_seconds for child in children) < 2:
        assert stage.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
        children = psutil.Process(stage.pid).children(recursive=True)
    return stage, children


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_ended_stage_leaves_no_process_and_no_index(tmp_path, end):
    stage, children = start_slow_stage(tmp_path)
    os.kill(stage.pid, end)
    _, errors = stage.communicate(timeout=60)
    assert stage.returncode != 0 and "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not (tmp_path / "shards/index.json").exists()


def test_ctrl_c_while_the_processes_start_is_quiet_too(tmp_path):
    stage, children = start_slow_stage(tmp_path, cpu_seconds=0.04)  # amid their imports
    for process in [*children, stage]:  # as a terminal does
        os.kill(process.pid, signal.SIGINT)
    _, errors = stage.communicate(timeout=60)
    assert (stage.returncode, errors) == (130, "")
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_a_killed_worker_is_told(tmp_path):
    stage, children = start_slow_stage(tmp_path)
    busiest = max(children, key=lambda child: child.cpu_times().user)
    busiest.kill()
    _, errors = stage.communicate(timeout=60)
    assert stage.returncode == 1
    assert errors == "error: expected the worker processes to last; found one killed, perhaps for memory; try fewer with --workers\n"


def encode_head(seed: int, roll: float = 0.0, where: complex = 150 + 140j) -> bytes:
    image, _ = draw_photo((300, 300), [(where, 50, roll)], seed)
    return drawn_faces.encode(image)


def test_faces_give_the_same_bytes_for_any_number_of_workers(tmp_path):
    photos = {f"{number:02d}.jpg": encode_head(number, 5 * number - 20) for number in range(8)}
    photos |= {
        "landscape.jpg": encode(load_sample_image("flower.jpg"), "JPEG"),
        "torn.jpg": photos["00.jpg"][:3000],
        "again.jpg": photos["03.jpg"],
    }
    results = [read_files(run(tmp_path, photos, workers=workers, crop="face", max_bad=0.1)[0]) for workers in (1, 3)]
    assert results[0] == results[1] and "faces.png" in results[0]
    report = json.loads(results[0]["report.json"])
    assert (report["photos"], report["pictures"]) == (11, 8)
    assert report["faces_left_out"] == [{"name": "landscape.jpg", "reason": "no face found"}]
    assert [entry["name"] for entry in report["unreadable"]] == ["torn.jpg"]
    assert report["duplicates"] == [{"name": "again.jpg", "same_as": "03.jpg"}] or report["duplicates"] == [
        {"name": "03.jpg", "same_as": "again.jpg"}
    ]


def test_all_faces_of_a_photo_stand_on_one_side_and_have_names(tmp_path):
    photos = {}
    for number in range(12):
        image, _ = draw_photo((500, 300), [(130 + 140j, 40, 0), (370 + 140j, 40, 10)], 3 * number)
        photos[f"{number:02d}.png"] = drawn_faces.encode(image, "PNG")
    photos["copy.png"] = photos["11.png"]
    out, index = run(tmp_path, photos, crop="face", faces="all")
    assert (index.train + index.holdout, index.train % 2, index.holdout % 2) == (24, 0, 0) and index.holdout > 0
    assert read_report(out)["duplicates"] == [{"name": f"copy.png, face {face}", "same_as": f"11.png, face {face}"} for face in (1, 2)]
    assert index.crop.startswith("face: ffhq, margin 0, all, from 28 pixels up, found by YuNet 8f2383e4")


def test_photos_without_faces_are_not_bad_and_hardly_any_face_is_told(tmp_path):
    landscapes = {f"{number}.jpg": encode(np.roll(load_sample_image("china.jpg"), 40 * number, 1), "JPEG") for number in range(6)}
    _, index = run(tmp_path, landscapes | {"me.jpg": encode_head(0)}, crop="face", holdout=0.0)
    assert index.train == 1
    with pytest.raises(
        FaceganError, match=r"expected faces in the photos; found them in 0 of 6; the first photo: no face found; look at .*faces\.png"
    ):
        run(tmp_path, landscapes, crop="face")
    failed = tmp_path / "run1/shards-failed"
    assert sorted(read_files(failed)) == ["faces.png", "report.json"]
    assert np.asarray(Image.open(failed / "faces.png")).shape == (2 * 22 + 160, 6 * 160, 3)  # no row with a face, one without


def test_the_sheet_shows_what_is_cut_out_and_what_is_not(tmp_path):
    photos = {f"{number:02d}.jpg": encode_head(number) for number in range(30)} | {"small.jpg": encode_head(0, where=290 + 140j)}
    out, _ = run(tmp_path, photos, crop="face")
    sheet = np.asarray(Image.open(out / "faces.png")).astype(int)
    assert sheet.shape == (22 + 4 * 160 + 22 + 160, 6 * 160, 3)  # 24 of 30 in four rows, then the one
    green = (np.abs(sheet - (0, 160, 60)).sum(2) == 0).sum(1)
    red = (np.abs(sheet - (210, 40, 40)).sum(2) == 0).sum(1)
    assert all(green[22 + 160 * row : 182 + 160 * row].sum() > 2000 for row in range(4)) and red[: 22 + 640].sum() == 0
    assert red[22 + 640 :].sum() > 50 and green[22 + 640 :].sum() == 0


def advise(tmp_path: Path, photos: dict[str, bytes], **changes) -> list[str]:
    place = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    return preprocess(make_raw(place / "raw", photos), parameters(**changes), place / "shards", 1).advice


def test_forty_copies_of_one_photo_are_called_duplicates(tmp_path):
    one = encode(draw(0))
    said = advise(tmp_path, {f"{number}.png": one for number in range(40)}, holdout=0.0)
    assert said[0] == "39 of 40 pictures were duplicates and are left out"


def test_what_download_passed_over_stands_in_the_report(tmp_path):
    for name, content in {
        "a.png": encode(draw(0)),
        "b.png": encode(draw(1)),
        "c.mov": b"film",
        "d.mov": b"film",
        "e.psd": b"layers",
    }.items():
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(content)
    data = DataParameters(source="folder", path="mine", count=1, only=None, where=None, limit=None)
    download(data, tmp_path / "raw", tmp_path)
    preprocess(tmp_path / "raw", parameters(holdout=0.0), tmp_path / "shards", 1)
    assert read_report(tmp_path / "shards") == EMPTY_REPORT | {"photos": 2, "pictures": 2, "files_left_out": {".mov": 2, ".psd": 1}}


def test_three_forty_and_three_hundred_photos_get_advice_that_fits(tmp_path):
    said = [advise(tmp_path, draw_photos(count), holdout=0.0) for count in (3, 40, 300, 1000)]
    assert [len(lines) for lines in said] == [1, 1, 1, 1]
    assert said[0][0].startswith("3 pictures are too few to train on") and said[1][0].startswith("40 pictures are too few to train on")
    assert said[2][0].startswith("300 pictures are few") and said[3][0].startswith("1,000 pictures are enough")
    assert advise_on_number(3000) == []


def test_after_a_square_crop_the_stage_says_how_much_of_it_the_faces_fill(tmp_path):
    wide = {}
    for number in range(4):
        image, _ = draw_photo((640, 480), [(320 + 200j, 50, 0)], number)
        wide[f"{number}.jpg"] = drawn_faces.encode(image)
    [share, _] = advise(tmp_path, wide, crop="square", holdout=0.0)
    assert share.startswith("faces fill 0.3") and "(4 of 4 photos looked at have one); preprocess.crop: face would find" in share
    near = {}
    for number in range(3):
        image, _ = draw_photo((300, 300), [(150 + 140j, 90, 0)], number)
        near[f"{number}.jpg"] = drawn_faces.encode(image)
    [share, _] = advise(tmp_path, near, crop="square", holdout=0.0)
    assert share.startswith("faces fill 0.8") and "preprocess.crop" not in share
    assert (
        len(advise(tmp_path, {"a.png": encode(draw(0)), "b.png": encode(draw(1))}, crop="square", holdout=0.0)) == 1
    )  # no people, no word of faces


def test_what_an_earlier_run_left_stays_until_the_new_is_whole(tmp_path):
    raw, out = make_raw(tmp_path / "raw", draw_photos(20)), tmp_path / "shards"
    preprocess(raw, parameters(), out, 1)
    (tmp_path / "cache").mkdir()
    for file in out.iterdir():  # as DVC keeps its outputs: hard links to files that must never change
        os.link(file, tmp_path / "cache" / file.name)
        file.chmod(0o444)
    before = read_files(out)
    with pytest.raises(FaceganError, match=r"change preprocess\.crop"):
        preprocess(raw, parameters(crop=(0, 0, 100, 100)), out, 1)
    assert read_files(out) == before
    preprocess(raw, parameters(resolution=32), out, 1)
    assert read_files(tmp_path / "cache") == before and read_files(out)["report.json"] == before["report.json"]
    assert all(read_files(out)[name] != before[name] for name in ("index.json", "preview.png", "train-00000.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".shards.lock", "cache", "raw", "shards"]


def test_two_runs_at_once_are_told_apart(tmp_path):
    stage, _ = start_slow_stage(tmp_path)
    status, _, errors = run_script("--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "shards"), "--workers", "1")
    stage.kill()
    stage.communicate(timeout=60)
    assert (
        status == 1
        and errors.startswith("error: expected ")
        and "for this process alone; found another that preprocesses into it" in errors
    )


def test_names_that_are_no_unicode_are_reported(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    names = [os.fsdecode(b"gr\xfc\xdfe.png"), "zwei\nZeilen.png", "bild.png"]
    for number, name in enumerate(names):
        (folder / name).write_bytes(encode(draw(number)) if number < 2 else b"no picture")
    raw = tmp_path / "raw"
    raw.mkdir()
    sha256 = write_files(raw, {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names})
    place = {"source": "folder", "path": "photos", "archive": None, "folder": str(folder), "sha256": sha256, "bytes": 0}
    write_manifest(raw, Manifest(**place, images=3, license="", limit=None))
    (folder / "copy").mkdir()
    preprocess(raw, parameters(max_bad=0.5), tmp_path / "shards", 1)
    assert read_report(tmp_path / "shards")["unreadable"] == [{"name": "bild.png", "reason": "no picture in a format that is read"}]
    with pytest.raises(FaceganError, match="found 1 of 3"):
        preprocess(raw, parameters(), tmp_path / "shards", 1)


def test_neither_the_stage_nor_its_processes_load_torch():
    program = "import sys, facegan.preprocessing.preprocess; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
