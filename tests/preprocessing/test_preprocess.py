"""The stage preprocess: content of the shards, report, overview images and advice, and interruptions."""

import contextlib
import dataclasses
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
import torch
import yaml
from drawn_faces import draw_photo
from PIL import Image, ImageEnhance
from projects import ROOT, complete, start_stage
from raw_photos import make_raw
from sklearn.datasets import load_sample_image
from warm_python import find_script

from facegan.common.config import ConfigurationError, read_yaml
from facegan.common.errors import FaceganError
from facegan.common.shards import SPLITS, Index, open_split, read_labels
from facegan.parameters import read_parameters
from facegan.preprocessing import preprocess as preprocess_module
from facegan.preprocessing.advice import advise_on_number
from facegan.preprocessing.parameters import PreprocessParameters
from facegan.preprocessing.preprocess import Result, choose_split, preprocess, read_photo
from facegan.preprocessing.results import open_results, remove_old_results

SIZE = 28
FACE = {"template": "ffhq", "margin": 0.0, "faces": "largest", "min_face_pixels": 28, "min_eye_distances": 3.0}
LISTS = ["duplicates", "unreadable", "faces_left_out", "near_duplicates", "near_duplicates_on_both_sides", "turned", "damaged_profiles"]
EMPTY_REPORT = {"photos": 0, "pictures": 0, **{key: [] for key in LISTS}, "files_left_out": {}}


def parameters(**changes) -> PreprocessParameters:
    return PreprocessParameters(
        **{
            "resolution": SIZE,
            "crop": "none",
            **FACE,
            "filter": "lanczos",
            "near_duplicates": "ignore",
            "holdout": 0.25,
            "max_bad": 0.0,
            "max_bad_photos": 0,
        }
        | changes
    )


def encode(picture: np.ndarray, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format, **options)
    return file.getvalue()


def draw(seed: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)  # (H, W, 3)


def draw_photos(count: int, size: int = SIZE) -> dict[str, bytes]:
    return {f"photos/{number:04d}.png": encode(draw(number, size)) for number in range(count)}


def run(
    tmp_path: Path, photos: dict[str, bytes], limit: int | None = None, workers: int = 1, labels: list[str] | None = None, **changes
) -> tuple[Path, Result]:
    """Returns the folder of shards and the result of preprocessing these photos."""
    home = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    return home / "shards", preprocess(make_raw(home, photos, limit=limit, labels=labels), parameters(**changes), home / "shards", workers)


def make_shards(tmp_path: Path, photos: dict[str, bytes], **options) -> tuple[Path, Index]:
    out, result = run(tmp_path, photos, **options)
    return out, result.index


def advise(tmp_path: Path, photos: dict[str, bytes], **changes) -> list[str]:
    return run(tmp_path, photos, holdout=0.0, **changes)[1].advice


def read_report(out: Path) -> dict:
    return json.loads((out / "report.json").read_text())


def read_split(out: Path, split: str) -> set[bytes]:
    """Returns the split's images, as bytes (3, H, W)."""
    return {image.numpy().tobytes() for images in open_split(out, split) for image in images}


def chw(picture: np.ndarray) -> bytes:
    return picture.transpose(2, 0, 1).tobytes()


def read_files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_shards_are_in_the_order_of_names(tmp_path):
    names = [f"{number}.png" for number in (3, 10, 2, 1)]
    out, index = make_shards(tmp_path, {name: encode(draw(seed)) for seed, name in enumerate(names)}, holdout=0.0)
    (images,) = open_split(out, "train")
    assert [image.numpy().tobytes() for image in images] == [chw(draw(seed)) for seed in (3, 1, 2, 0)]  # 1, 10, 2, 3
    assert (index.train, index.holdout, index.resolution, index.crop, index.filter) == (4, 0, SIZE, "none", "lanczos")
    assert index.source_fingerprint == hashlib.sha256((out.parent / "given").read_bytes()).hexdigest()
    assert read_report(out) == EMPTY_REPORT | {"photos": 4, "pictures": 4}


def test_output_does_not_depend_on_the_number_of_workers(tmp_path):
    photos = draw_photos(150, 40)
    photos |= {"photos/0007b.png": photos["photos/0007.png"], "photos/0100b.jpg": b"broken"}
    results = [read_files(make_shards(tmp_path, photos, workers=workers, crop=(2, 3, 40, 40), max_bad=0.1)[0]) for workers in (1, 2, 3)]
    assert results[0] == results[1] == results[2]
    assert sorted(results[0]) == ["holdout-00000.safetensors", "index.json", "preview.png", "report.json", "train-00000.safetensors"]


def test_duplicate_images_are_skipped(tmp_path):
    picture = draw(0)
    copies = {"b.png": encode(picture, compress_level=1), "c.bmp": encode(picture, "BMP"), "e.png": encode(picture)}
    out, result = run(tmp_path, {"a.png": encode(picture), "d.png": encode(draw(1))} | copies)
    assert result.index.train + result.index.holdout == 2
    assert read_report(out)["duplicates"] == [{"name": name, "same_as": "a.png"} for name in copies]
    assert result.advice[0] == "3 of 5 images are duplicates and were skipped"


def test_unreadable_photos_are_listed_and_limited(tmp_path):
    photos = draw_photos(8) | {"bad.jpg": encode(draw(1), "JPEG")[:-200], "worse.png": b"no picture"}
    out, index = make_shards(tmp_path, photos, max_bad=0.2)
    assert index.train + index.holdout == 8
    listed = read_report(out)["unreadable"]
    assert [entry["name"] for entry in listed] == ["bad.jpg", "worse.png"]
    assert "truncated" in listed[0]["reason"] and listed[1]["reason"] == "not an image in a supported format"
    with pytest.raises(
        FaceganError, match=r"at most 1 of 10 .* found 2 in the first 10: .*truncated \(bad\.jpg\).*shards-failed/report\.json"
    ):
        make_shards(tmp_path, photos, max_bad=0.19)
    assert len(read_report(tmp_path / "run1/shards-failed")["unreadable"]) == 2
    assert make_shards(tmp_path, photos, max_bad_photos=2)[1] == index
    assert not (tmp_path / "run1/shards").exists()


def test_stage_stops_as_soon_as_too_many_photos_are_unreadable(tmp_path):
    photos = {f"{number:02d}.jpg": b"no picture" for number in range(3)} | draw_photos(60)
    with pytest.raises(FaceganError, match=r"found 1 in the first 1: 1 × not an image in a supported format \(00\.jpg\)"):
        make_shards(tmp_path, photos)
    assert read_report(tmp_path / "run0/shards-failed")["photos"] == 1


def test_photo_that_needs_too_much_memory_is_unreadable(monkeypatch):
    def read_image(*arguments):
        raise MemoryError

    monkeypatch.setattr("facegan.preprocessing.preprocess.read_image", read_image)
    assert read_photo("a.png", encode(draw(0)), parameters())[1].unreadable == "too little memory to decode it"


def test_losses_are_reported_on_screen_with_the_remedy(tmp_path):
    head = encode_head(0)
    upside_down = io.BytesIO()
    Image.open(io.BytesIO(encode_head(1))).transpose(Image.Transpose.ROTATE_180).save(upside_down, "JPEG", quality=92)
    photos = {
        "a.jpg": head,
        "cut.jpg": head[:3000],
        "edge.jpg": encode_head(0, position=272 + 140j),
        "empty.jpg": b"",
        "flower.jpg": encode(load_sample_image("flower.jpg"), "JPEG"),
        "small.jpg": drawn_faces.encode(draw_photo((300, 300), [(150 + 140j, 12, 0)], 2)[0]),
        "turned.jpg": upside_down.getvalue(),
    }
    lines = advise(tmp_path, photos, crop="face", max_bad_photos=1, min_face_pixels=60)
    assert lines[:6] == [
        "files skipped by download: 1 empty",
        "1 photos are unreadable: 1 × image file is truncated (cut.jpg)",
        "1 × no face found (flower.jpg); preprocess.crop: square keeps these photos",
        "1 × its face is too close to the photo's edge (edge.jpg); preprocess.min_eye_distances: 2 accepts tighter crops, and "
        "preprocess.crop: square keeps these photos",
        "1 × its face is too small (small.jpg); a smaller preprocess.min_face_pixels accepts them",
        "1 photos were upside down or on a side, and were turned",
    ]


def draw_smooth(seed: int) -> Image.Image:
    return Image.fromarray(draw(seed, 12)).resize((120, 120), Image.Resampling.BICUBIC)


def encode_copies(seed: int) -> dict[str, bytes]:
    """Returns a photo and its re-saved, resized and edited copies."""
    image = draw_smooth(seed)
    copies = {
        "a": image,
        "brighter": ImageEnhance.Brightness(image).enhance(1.2),
        "half": image.resize((60, 60)),
        "paler": ImageEnhance.Color(image).enhance(0.8),
    }
    files = {f"{seed:02d} {name}.png": drawn_faces.encode(copy, "PNG") for name, copy in copies.items()}
    return files | {f"{seed:02d} re-saved.jpg": drawn_faces.encode(image, quality=40)}


def test_near_duplicates_are_in_the_same_split_or_dropped(tmp_path):
    photos = {name: content for seed in range(8) for name, content in encode_copies(seed).items()}

    originals = np.array([np.asarray(draw_smooth(seed).resize((SIZE, SIZE))).transpose(2, 0, 1) for seed in range(8)], float)

    def find_originals(out: Path, split: str) -> set[int]:
        """Returns the photos of which a split contains a copy."""
        images = [image.numpy() for images in open_split(out, split) for image in images]
        return {int(np.abs(originals - image).mean((1, 2, 3)).argmin()) for image in images}

    out, separate = run(tmp_path, photos)
    assert find_originals(out, "train") & find_originals(out, "holdout")  # copies in both splits
    out, result = run(tmp_path, photos, near_duplicates="together")
    assert find_originals(out, "holdout") and not find_originals(out, "train") & find_originals(out, "holdout")
    assert result.index.train + result.index.holdout == separate.index.train + separate.index.holdout == 40
    assert result.advice[0] == "32 images are almost the same as others, and are in the same split as those"
    assert len(read_report(out)["near_duplicates"]) == 32
    out, result = run(tmp_path, photos, near_duplicates="drop")
    assert result.index.train + result.index.holdout == read_report(out)["pictures"] == 8


def test_damaged_colour_profile_is_counted(tmp_path):
    photos = {"a.png": encode(draw(0), icc_profile=b"damaged"), "b.png": encode(draw(1))}
    out, result = run(tmp_path, photos, holdout=0.0)
    assert read_split(out, "train") == {chw(draw(0)), chw(draw(1))} and read_report(out)["damaged_profiles"] == ["a.png"]
    assert "1 photos have a damaged colour profile" in result.advice[0]


def test_partition_determines_the_split_and_otherwise_a_hash(tmp_path):
    rows = ["image_id,partition", *(f"{number:04d}.png,{number % 3}" for number in range(30))]
    photos = draw_photos(40) | {"list_eval_partition.csv": "\n".join(rows).encode()}
    out, index = make_shards(tmp_path, photos)
    train, holdout = read_split(out, "train"), read_split(out, "holdout")
    listed = [chw(draw(number)) for number in range(30)]
    assert set(listed[0::3]) <= train and set(listed[1::3]) | set(listed[2::3]) <= holdout
    assert index.train + index.holdout == 40 and 10 < index.train < 20


def test_split_does_not_depend_on_name_size_or_other_photos(tmp_path):
    photos = {f"{number}.png": encode(np.full((40, 40, 3), number, np.uint8)) for number in range(200)}

    def find_held_out(photos: dict[str, bytes], **changes) -> set[int]:
        out, _ = make_shards(tmp_path, photos, **changes)
        return {picture[0] for picture in read_split(out, "holdout")}

    held_out = find_held_out(photos)
    assert 30 <= len(held_out) <= 70  # 50 ± 3 standard deviations
    assert find_held_out(photos, resolution=64, crop=(0, 0, 30, 40), filter="box") == held_out
    renamed = {f"other/{199 - number}.png": photos[f"{number}.png"] for number in range(100)}
    assert find_held_out(renamed) == {number for number in held_out if number < 100}


def test_larger_holdout_includes_the_smaller():
    shares = np.random.default_rng(0).uniform(0, 1, 1000)
    held_out = [{share for share in shares if choose_split(None, share, holdout) == "holdout"} for holdout in (0.0, 0.1, 0.5)]
    assert held_out[0] == set() and held_out[1] < held_out[2]
    assert [choose_split(partition, 0.0, 0.9) for partition in (0, 1, 2)] == ["train", "holdout", "holdout"]


def test_crop_box_that_exceeds_a_photo_is_reported(tmp_path):
    photos = draw_photos(70, 40) | {"photos/0066.png": encode(draw(0, 39))}
    with pytest.raises(FaceganError, match=r"the crop box \[0, 0, 40, 40\]; found photos/0066\.png of 39×39"):
        make_shards(tmp_path, photos, crop=(0, 0, 40, 40), max_bad=1.0)


def test_preview_is_spread_evenly_over_the_training_images(tmp_path):
    out, _ = make_shards(tmp_path, draw_photos(73), holdout=0.0)
    grid = np.asarray(Image.open(out / "preview.png"))
    assert grid.shape == (5 * SIZE, 5 * SIZE, 3)
    for place in range(25):
        row, column = divmod(place, 5)
        assert (grid[row * SIZE : (row + 1) * SIZE, column * SIZE : (column + 1) * SIZE] == draw(3 * place)).all()
    few, _ = make_shards(tmp_path, draw_photos(3), holdout=0.0)
    grid = np.asarray(Image.open(few / "preview.png"))
    assert (grid[:SIZE, 3 * SIZE :] == 255).all() and (grid[SIZE:] == 255).all()


def test_no_training_images_is_reported(tmp_path):
    photos = draw_photos(2) | {"list_eval_partition.csv": b"image_id,partition\n0000.png,2\n0001.png,1\n"}
    with pytest.raises(FaceganError, match="expected photos to train on; found that all are held out"):
        make_shards(tmp_path, photos)


def test_folder_and_archive_give_the_same_shards(tmp_path):
    raws = [
        make_raw(tmp_path / "folder", draw_photos(12), "folder"),
        make_raw(tmp_path / "stored", draw_photos(12), compression=zipfile.ZIP_STORED),
    ]
    indexes = [preprocess(raw, parameters(), raw.with_name("shards"), 2).index for raw in raws]
    assert indexes[0].shards == indexes[1].shards


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 27},
        {"resolution": 513},
        {"crop": "centre"},
        {"crop": [10, 0, 10, 20]},
        {"crop": [-1, 0, 10, 20]},
        {"crop": [0, 0, 10]},
        {"filter": "nearest"},
        {"holdout": 1.0},
        {"template": "celebs"},
        {"margin": -0.5},
        {"faces": "first"},
        {"min_face_pixels": 0},
        {"max_bad": 2},
        {"max_bad_photos": -1},
        {"min_eye_distances": 0.5},
        {"near_duplicates": "keep"},
    ],
    ids=str,
)
def test_invalid_parameters_are_reported(tmp_path, change):
    with pytest.raises(ConfigurationError) as caught:
        read_parameters(write_params(tmp_path / "params.yaml", **change))
    [problem] = caught.value.problems
    assert problem.startswith(f"preprocess.{next(iter(change))}: expected ")


def run_script(*arguments: str) -> subprocess.CompletedProcess:
    return complete(start_stage(ROOT, "preprocess", *arguments))


def write_params(path: Path, **changes) -> Path:
    params = read_yaml(ROOT / "params.yaml")
    params["preprocess"] |= changes
    path.write_text(yaml.safe_dump(params))
    return path


def test_script_prints_what_it_made(tmp_path):
    raw, out = make_raw(tmp_path, draw_photos(30)), tmp_path / "shards"
    params = write_params(tmp_path / "params.yaml", resolution=64, crop="square")
    done = run_script("--params", str(params), "--raw", str(raw), "--out", str(out), "--workers", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert "training images of 64 px" in done.stdout and str(out) in done.stdout and "preview.png" in done.stdout
    assert sum(len(images) for split in ("train", "holdout") for images in open_split(out, split)) == 30


def test_script_fails_with_one_line(tmp_path):
    raw, out = make_raw(tmp_path, draw_photos(4)), tmp_path / "shards"
    boxed = write_params(tmp_path / "params.yaml", crop=[0, 0, 100, 100])
    for arguments, problem in (
        (("--raw", str(tmp_path / "missing")), "manifest.json"),
        (("--raw", str(raw), "--params", str(boxed)), "change preprocess.crop"),
        (("--raw", str(raw), "--workers", "0"), "expected at least 1 in --workers; found 0"),
    ):
        done = run_script("--out", str(out), *arguments)
        assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and problem in done.stderr
        assert not (out / "index.json").exists()


def start_slow_stage(tmp_path: Path, cpu_seconds: float = 0.4):
    """Starts the stage with work for many seconds. Returns it and its workers when both have used this CPU time; 0.4 s is during work."""
    slow = encode(np.zeros((4000, 4000, 3), np.uint8), "JPEG")
    raw = make_raw(tmp_path, {f"{number:03d}.jpg": slow + b"%d" % number for number in range(200)}, compression=zipfile.ZIP_STORED)
    stage = start_stage(ROOT, "preprocess", "--raw", str(raw), "--out", str(tmp_path / "shards"), "--workers", "2")
    deadline, children = time.monotonic() + 60, []
    while sum(child.cpu_times().user > cpu_seconds for child in children) < 2:
        assert stage.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
        children = psutil.Process(find_script(stage)).children(recursive=True)
    return stage, children


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_stage_leaves_no_process_and_no_index(tmp_path, end):
    stage, children = start_slow_stage(tmp_path)
    os.kill(stage.pid, end)
    _, errors = stage.communicate(timeout=60)
    assert stage.returncode != 0 and "Traceback" not in errors
    _, alive = psutil.wait_procs(children, timeout=60)
    assert alive == []
    assert not (tmp_path / "shards/index.json").exists()


def count_decoded(monkeypatch: pytest.MonkeyPatch, raw: Path, out: Path, results: Path, **changes) -> int:
    """Preprocesses in this process. Returns the number of photos that were decoded."""
    names = []

    def read(name: str, *arguments):
        names.append(name)
        return read_photo(name, *arguments)

    class Serial:
        count = 1

        def map(self, function, tasks):
            return (function(*task) for task in tasks)

    monkeypatch.setattr(preprocess_module, "read_photo", read)
    monkeypatch.setattr(preprocess_module, "Workers", lambda count: contextlib.nullcontext(Serial()))
    preprocess(raw, parameters(**changes), out, 1, results)
    return len(names)


def test_only_photos_with_new_content_are_decoded(tmp_path, monkeypatch):
    photos, results = draw_photos(20) | {"photos/0003 copy.png": encode(draw(3)), "bad.jpg": b"no picture"}, tmp_path / "my.photos [1]"
    added = photos | {f"photos/0000 {number}.png": encode(draw(100 + number)) for number in range(3)}
    changes = {"max_bad": 0.5, "near_duplicates": "together"}
    raw = make_raw(tmp_path / "first", photos)
    assert count_decoded(monkeypatch, raw, tmp_path / "one", results, **changes) == 22
    assert count_decoded(monkeypatch, raw, tmp_path / "two", results, **changes | {"holdout": 0.5, "near_duplicates": "drop"}) == 0
    assert count_decoded(monkeypatch, raw, tmp_path / "three", results, **changes | {"resolution": 32}) == 22
    raw = make_raw(tmp_path / "second", added)
    assert count_decoded(monkeypatch, raw, tmp_path / "four", results, **changes) == 3
    monkeypatch.undo()
    preprocess(raw, parameters(**changes), tmp_path / "from scratch", 1)
    assert read_files(tmp_path / "four") == read_files(tmp_path / "from scratch")


@pytest.mark.parametrize("damage", ["*.photos", "*.npz", "one bit"])
def test_damaged_results_are_computed_again(tmp_path, monkeypatch, damage):
    raw, results = make_raw(tmp_path, draw_photos(8)), tmp_path / "results"
    preprocess(raw, parameters(), tmp_path / "one", 1, results)
    for path in results.rglob("*.npz" if damage == "one bit" else damage):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "one bit" else content[:20])
    assert count_decoded(monkeypatch, raw, tmp_path / "two", results) == 8
    assert read_files(tmp_path / "one") == read_files(tmp_path / "two")


def test_results_of_other_code_are_not_used(tmp_path):
    results = open_results(tmp_path, parameters())
    assert results.find(b"a photo") is None
    with pytest.raises(FaceganError, match="expected the same versions of facegan and of its packages in all processes"):
        dataclasses.replace(results, code="other").find(b"a photo")


def test_only_the_latest_results_are_kept(tmp_path):
    folders = [Path(open_results(tmp_path, parameters(resolution=resolution)).folder) for resolution in range(28, 33)]
    for age, folder in enumerate(folders):
        os.utime(folder / "parameters.json", (1000 - age, 1000 - age))
    remove_old_results(tmp_path)
    assert [folder.exists() for folder in folders] == [True, True, True, False, False]


def test_killed_run_keeps_the_results_so_far(tmp_path):
    stage, _ = start_slow_stage(tmp_path, cpu_seconds=2.0)
    stage.kill()
    stage.communicate(timeout=60)
    assert 0 < sum(path.stat().st_size // 32 for path in (tmp_path / ".shards-results").rglob("*.photos")) < 200


def test_ctrl_c_during_the_start_prints_nothing(tmp_path):
    stage, children = start_slow_stage(tmp_path, cpu_seconds=0.04)  # during their imports
    for process in [*children, stage]:  # like a terminal
        os.kill(process.pid, signal.SIGINT)
    _, errors = stage.communicate(timeout=60)
    assert (stage.returncode, errors) == (130, "")
    assert psutil.wait_procs(children, timeout=60)[1] == []


def test_killed_worker_is_reported(tmp_path):
    stage, children = start_slow_stage(tmp_path)
    busiest = max(children, key=lambda child: child.cpu_times().user)
    busiest.kill()
    _, errors = stage.communicate(timeout=60)
    assert stage.returncode == 1
    assert errors.startswith("error: expected the worker processes to keep running") and errors.count("\n") == 1


def encode_head(seed: int, roll: float = 0.0, position: complex = 150 + 140j) -> bytes:
    image, _ = draw_photo((300, 300), [(position, 50, roll)], seed)
    return drawn_faces.encode(image)


def test_faces_do_not_depend_on_the_number_of_workers(tmp_path):
    photos = {f"{number:02d}.jpg": encode_head(number, 5 * number - 20) for number in range(8)}
    landscape = encode(load_sample_image("flower.jpg"), "JPEG")
    photos |= {"landscape.jpg": landscape, "truncated.jpg": photos["00.jpg"][:3000], "x.jpg": photos["03.jpg"]}
    results = [read_files(make_shards(tmp_path, photos, workers=workers, crop="face", max_bad=0.1)[0]) for workers in (1, 3)]
    assert results[0] == results[1] and "faces.png" in results[0]
    report = json.loads(results[0]["report.json"])
    assert (report["photos"], report["pictures"]) == (11, 8)
    assert report["faces_left_out"] == [{"name": "landscape.jpg", "reason": "no face found"}]
    assert [entry["name"] for entry in report["unreadable"]] == ["truncated.jpg"]
    assert report["duplicates"] == [{"name": "x.jpg", "same_as": "03.jpg"}]


def test_all_faces_of_a_photo_are_in_the_same_split(tmp_path):
    photos = {}
    for number in range(12):
        image, _ = draw_photo((500, 300), [(130 + 140j, 40, 0), (370 + 140j, 40, 10)], 3 * number)
        photos[f"{number:02d}.png"] = drawn_faces.encode(image, "PNG")
    photos["copy.png"] = photos["11.png"]
    out, index = make_shards(tmp_path, photos, crop="face", faces="all")
    assert (index.train + index.holdout, index.train % 2, index.holdout % 2) == (24, 0, 0) and index.holdout > 0
    assert read_report(out)["duplicates"] == [{"name": f"copy.png, face {face}", "same_as": f"11.png, face {face}"} for face in (1, 2)]
    assert index.crop.startswith("face: ffhq, margin 0, all, from 28 pixels up, found by YuNet 8f2383e4")


def test_photos_without_faces_are_accepted_unless_almost_none_has_a_face(tmp_path):
    landscapes = {f"{number}.jpg": encode(np.roll(load_sample_image("china.jpg"), 40 * number, 1), "JPEG") for number in range(6)}
    _, index = make_shards(tmp_path, landscapes | {"me.jpg": encode_head(0)}, crop="face", holdout=0.0)
    assert index.train == 1
    with pytest.raises(FaceganError, match=r"found them in 0 of 6; the first photo: no face found; see .*faces\.png"):
        make_shards(tmp_path, landscapes, crop="face")
    failed = tmp_path / "run1/shards-failed"
    assert sorted(read_files(failed)) == ["faces.png", "report.json"]
    assert np.asarray(Image.open(failed / "faces.png")).shape == (2 * 22 + 160, 6 * 160, 3)  # one row without a face


def test_faces_sheet_shows_used_and_skipped_faces(tmp_path):
    photos = {f"{number:02d}.jpg": encode_head(number) for number in range(30)} | {"small.jpg": encode_head(0, position=290 + 140j)}
    out, _ = make_shards(tmp_path, photos, crop="face")
    sheet = np.asarray(Image.open(out / "faces.png")).astype(int)
    assert sheet.shape == (22 + 4 * 160 + 22 + 160, 6 * 160, 3)  # 24 of 30 in four rows, then one
    green = (np.abs(sheet - (0, 160, 60)).sum(2) == 0).sum(1)
    red = (np.abs(sheet - (210, 40, 40)).sum(2) == 0).sum(1)
    assert all(green[22 + 160 * row : 182 + 160 * row].sum() > 2000 for row in range(4)) and red[: 22 + 640].sum() == 0
    assert red[22 + 640 :].sum() > 50 and green[22 + 640 :].sum() == 0


def test_files_skipped_by_download_are_in_the_report(tmp_path):
    files = {"a.png": encode(draw(0)), "b.png": encode(draw(1)), "c.mov": b"video", "d.mov": b"video", "e.psd": b"layers"}
    out, _ = make_shards(tmp_path, files, holdout=0.0)
    assert read_report(out) == EMPTY_REPORT | {"photos": 2, "pictures": 2, "files_left_out": {".mov": 2, ".psd": 1}}


@pytest.mark.parametrize(
    ("count", "words"), [(49, "too few"), (50, "are few"), (499, "are few"), (500, "are enough"), (1999, "are enough")]
)
def test_advice_on_the_number_of_images(count, words):
    [line] = advise_on_number(count)
    assert f"{count:,} images" in line and words in line
    assert advise_on_number(2000) == []


def test_advice_on_the_size_of_faces_in_a_square_crop(tmp_path):
    def draw_heads(size: tuple[int, int], head: tuple[complex, float, float]) -> dict[str, bytes]:
        return {f"{number}.jpg": drawn_faces.encode(draw_photo(size, [head], number)[0]) for number in range(3)}

    [line, _] = advise(tmp_path, draw_heads((640, 480), (320 + 200j, 50, 0)), crop="square")
    assert "face fills 0.3" in line and "(3 of 3 sampled photos have a face); preprocess.crop: face would" in line
    [line, _] = advise(tmp_path, draw_heads((300, 300), (150 + 140j, 90, 0)), crop="square")
    assert "face fills 0.8" in line and "preprocess.crop" not in line
    assert len(advise(tmp_path, draw_photos(2), crop="square")) == 1  # no faces


def test_earlier_output_is_kept_until_the_new_is_complete(tmp_path):
    raw, out = make_raw(tmp_path, draw_photos(20)), tmp_path / "shards"
    preprocess(raw, parameters(), out, 1)
    (tmp_path / "cache").mkdir()
    for file in out.iterdir():  # like DVC: hard links to files in its cache
        os.link(file, tmp_path / "cache" / file.name)
        file.chmod(0o444)
    before = read_files(out)
    with pytest.raises(FaceganError, match=r"change preprocess\.crop"):
        preprocess(raw, parameters(crop=(0, 0, 100, 100)), out, 1)
    assert read_files(out) == before
    preprocess(raw, parameters(resolution=32), out, 1)
    assert read_files(tmp_path / "cache") == before and read_files(out)["report.json"] == before["report.json"]
    assert all(read_files(out)[name] != before[name] for name in ("index.json", "preview.png", "train-00000.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".raw.lock", ".shards.lock", "cache", "given", "raw", "shards"]


def test_second_run_at_the_same_time_is_refused(tmp_path):
    stage, _ = start_slow_stage(tmp_path)
    done = run_script("--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "shards"), "--workers", "1")
    stage.kill()
    stage.communicate(timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("error: expected ") and "preprocesses into it" in done.stderr


def read_labelled(out: Path, index: Index) -> dict[bytes, tuple[str, ...]]:
    """Returns the values of each image (3, H, W), of both splits."""
    return {
        image.numpy().tobytes(): tuple(column.values[place] for column, place in zip(index.labels, places, strict=True))
        for split in SPLITS
        for images, labels in zip(open_split(out, split), read_labels(out, split), strict=True)
        for image, places in zip(images, labels.tolist(), strict=True)
    }


def write_metadata(values: dict[str, str]) -> dict[str, bytes]:
    return {"metadata.csv": "\n".join(["file_name,who", *(f"{name},{value}" for name, value in values.items())]).encode()}


def test_images_keep_the_labels_of_their_photos(tmp_path):
    who = {f"photos/{number:04d}.png": f"person {number % 3}" for number in range(150)}
    who |= {"more/copy.png": "person 1", "more/bad.png": "person 2", "more/new.png": "person 0"}
    photos = draw_photos(151) | {"more/copy.png": encode(draw(0)), "more/bad.png": b"broken", "more/new.png": encode(draw(200))}
    runs = [run(tmp_path, photos | write_metadata(who), workers=n, labels=["who", "folder"], max_bad=0.1) for n in (1, 3)]
    assert read_files(runs[0][0]) == read_files(runs[1][0])
    out, result = runs[0]
    expected = {chw(draw(number)): (f"person {number % 3}", "photos") for number in range(1, 150)}
    expected |= {chw(draw(0)): ("person 1", "more"), chw(draw(200)): ("person 0", "more")}  # the copy comes first by name
    assert read_labelled(out, result.index) == expected and min(result.index.train, result.index.holdout) > 20
    labels = np.concatenate([part.numpy() for part in read_labels(out, "train")])
    assert [column.counts for column in result.index.labels] == [tuple(np.bincount(labels[:, place])) for place in (0, 1)]
    assert "1 of the duplicates have other labels" in " ".join(result.advice)
    assert read_report(out)["files_left_out"] == {"without a value for who": 1}


@pytest.mark.parametrize("near_duplicates", ["together", "drop"])
def test_near_duplicates_keep_their_own_labels(tmp_path, near_duplicates):
    photos = {name: content for seed in range(8) for name, content in encode_copies(seed).items()}
    values = {name: f"{seed % 2} {'copy' if name[3:] != 'a.png' else 'first'}" for seed, name in ((int(name[:2]), name) for name in photos)}
    out, result = run(tmp_path, photos | write_metadata(values), labels=["who"], near_duplicates=near_duplicates)
    originals = np.array([np.asarray(draw_smooth(seed).resize((SIZE, SIZE))).transpose(2, 0, 1) for seed in range(8)], float)
    for image, (who,) in read_labelled(out, result.index).items():
        pixels = np.frombuffer(image, np.uint8).reshape(3, SIZE, SIZE)
        assert int(who[0]) == np.abs(originals - pixels).mean((1, 2, 3)).argmin() % 2


def test_all_faces_of_a_photo_have_its_labels(tmp_path):
    photos, values = {}, {}
    for number in range(4):
        image, _ = draw_photo((500, 300), [(130 + 140j, 40, 0), (370 + 140j, 40, 10)], 3 * number)
        photos[f"{number}.png"], values[f"{number}.png"] = drawn_faces.encode(image, "PNG"), str(number)
    out, result = run(tmp_path, photos | write_metadata(values), labels=["who"], crop="face", faces="all", holdout=0.0)
    assert torch.cat(read_labels(out, "train")).flatten().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert result.index.labels[0].counts == (2, 2, 2, 2)


def test_kept_results_have_no_labels(tmp_path, monkeypatch):
    photos, results = draw_photos(20), tmp_path / "results"
    assert count_decoded(monkeypatch, make_raw(tmp_path / "none", photos), tmp_path / "one", results) == 20
    for place, values in (("two", "ab"), ("three", "ba")):
        lists = write_metadata({name: values[number % 2] for number, name in enumerate(photos)})
        raw = make_raw(tmp_path / place / "new", photos | lists, labels=["who"])
        assert count_decoded(monkeypatch, raw, tmp_path / place / "kept", results) == 0
        with monkeypatch.context() as patch:
            patch.undo()
            index = preprocess(raw, parameters(), tmp_path / place / "scratch", 1).index
        assert read_files(tmp_path / place / "kept") == read_files(tmp_path / place / "scratch")
        assert read_labelled(tmp_path / place / "kept", index)[chw(draw(0))] == (values[0],)


def test_labels_are_reported_and_shown(tmp_path):
    values = {name: "rare" if number == 7 else f"{'often' if number % 3 else 'less'}" for number, name in enumerate(draw_photos(60))}
    attributes = "image_id,Smiling\n" + "".join(f"{name.split('/')[1]},{1 if number < 15 else -1}\n" for number, name in enumerate(values))
    lists = write_metadata(values) | {"list_attr_celeba.csv": attributes.encode()}
    out, result = run(tmp_path, draw_photos(60) | lists, labels=["who", "Smiling"], holdout=0.0)
    assert result.advice[:2] == [
        "who: often 65.0%, less 33.3%, rare 1.7% of 60 training images; below 2% is too rare to learn well: rare",
        "Smiling: 25.0% of 60 training images",
    ]
    assert read_report(out)["labels"] == {"who": {"less": 20, "often": 39, "rare": 1}, "Smiling": {"0": 45, "1": 15}}
    sheet = np.asarray(Image.open(out / "preview_labels.png"))
    row = sheet[3 * 86 - 64 : 3 * 86]  # below less and often
    rare = np.asarray(Image.fromarray(draw(7)).resize((64, 64), Image.Resampling.BOX))
    assert sheet.shape == (5 * 86, 12 * 64, 3) and (row[:, :64] == rare).all() and (row[:, 64:] == 255).all()


def test_a_column_without_two_values_for_training_is_reported(tmp_path):
    photos = {"a.png": encode(draw(0)), "b.png": encode(draw(1)), "c.png": b"broken"}
    with pytest.raises(FaceganError, match="expected training images with several values of who; found one"):
        run(tmp_path, photos | write_metadata({"a.png": "x", "b.png": "x", "c.png": "y"}), labels=["who"], holdout=0.0, max_bad_photos=1)


def test_names_that_are_not_unicode_are_reported(tmp_path):
    names = [os.fsdecode(b"gr\xfc\xdfe.png"), "zwei\nZeilen.png"]
    raw = make_raw(tmp_path, dict.fromkeys(names, b"not an image") | draw_photos(1), "folder")
    preprocess(raw, parameters(max_bad=0.7, holdout=0.0), tmp_path / "shards", 1)
    listed = [{"name": name, "reason": "not an image in a supported format"} for name in names]
    assert read_report(tmp_path / "shards")["unreadable"] == listed
    with pytest.raises(FaceganError, match="found 1 in the first 1") as caught:
        preprocess(raw, parameters(), tmp_path / "shards", 1)
    assert str(caught.value).isprintable()


def test_torch_is_not_loaded():
    program = "import sys, facegan.preprocessing.preprocess; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
