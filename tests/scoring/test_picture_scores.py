"""Pictures in folders and zips score as the generator that made them, and what would score otherwise is refused."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from projects import ROOT, draw_pictures, run_script

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.common.shards import ShardWriter
from facegan.scoring.extractors import extract, open_extractor
from facegan.scoring.memorisation import measure_memorisation
from facegan.scoring.picture_scores import extract_pictures, score_pictures
from facegan.scoring.protocol import PictureProtocol
from facegan.scoring.reference import make_reference
from facegan.scoring.scores import compare

FD = "fd_efficientnet_lite0"


def save_pictures(folder, pictures):
    for number, picture in enumerate(pictures):
        save_png(folder / f"{number:03d}.png", picture.transpose(1, 2, 0))
    return folder


@pytest.fixture(scope="module")
def extractor():
    return open_extractor("efficientnet_lite0", device="cpu")


@pytest.fixture(scope="module")
def fakes():
    return draw_pictures(30, 32, seed=1) // 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fakes):
    return save_pictures(tmp_path_factory.mktemp("pictures"), fakes)


@pytest.fixture(scope="module")
def reference(tmp_path_factory, extractor):
    root = tmp_path_factory.mktemp("reference")
    with ShardWriter(root / "shards", 32) as writer:
        for number, picture in enumerate(draw_pictures(80, 32)):
            writer.add("holdout" if number % 2 else "train", picture)
        writer.finish(crop="none", filter="lanczos", source_fingerprint="drawn")
    return make_reference(root / "shards", root / "reference", extractor, images=30, memorisation_images=None)


@pytest.fixture(scope="module")
def report(folder, reference, extractor):
    return score_pictures(extract_pictures(folder, "--pictures", extractor), reference, extractor, seed=0)


def test_pictures_score_as_the_generator_that_made_them(report, reference, extractor, fakes):
    features = extract(extractor, torch.from_numpy(fakes).split(16))
    expected = compare(reference.real, features, extractor.space)
    assert set(report["generated"]) == set(expected)
    for name in (FD, *(f"{name}_efficientnet_lite0" for name in ("precision", "recall", "density", "coverage"))):
        assert report["generated"][name] == pytest.approx(expected[name], rel=1e-5), name
    found = measure_memorisation(features, reference.holdout, reference.train, seed=0)
    assert report["memorisation"]["nearest_is_training"]["share"] == pytest.approx(found.nearest_is_training.share, rel=1e-8)
    assert report["floor"][FD] == pytest.approx(reference.floor[FD], rel=1e-8)


def test_the_protocol_names_what_was_compared(report, reference):
    protocol = dict(report["protocol"])
    assert (protocol["generated"], protocol["real"], protocol["resolution"], protocol["data"]) == (30, 30, 32, reference.protocol.data)
    assert protocol.pop("fingerprint") == PictureProtocol(**protocol).fingerprint


def test_a_zip_scores_as_the_folder_that_it_was_made_of(tmp_path, folder, reference, extractor, report):
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"faces/{path.name}")
    other = score_pictures(extract_pictures(tmp_path / "pictures.zip", "--pictures", extractor), reference, extractor, seed=0)
    assert {**other, "pictures": None} == {**report, "pictures": None}


def test_pictures_against_themselves_are_perfect(folder, extractor):
    pictures = extract_pictures(folder, "--pictures", extractor)
    found = score_pictures(pictures, pictures, extractor, seed=0)
    assert found["generated"][FD] < 1e-6 and found["generated"]["recall_efficientnet_lite0"] == 1
    assert found["protocol"]["data"] == pictures.sha256 == found["pictures"]["sha256"]
    assert "floor" not in found and "memorisation" not in found


def test_enlarged_pictures_are_refused(tmp_path, fakes, reference, extractor):
    save_pictures(tmp_path, fakes.repeat(2, 2).repeat(2, 3))
    with pytest.raises(FaceganError, match=r"expected pictures of 32×32 pixels, as the real images are; found 64×64 .* not resized"):
        score_pictures(extract_pictures(tmp_path, "--pictures", extractor), reference, extractor, seed=0)


def test_sizes_that_differ_are_refused(tmp_path, fakes, extractor):
    save_pictures(tmp_path, [*fakes[:25], np.zeros((3, 32, 48), dtype=np.uint8)])
    with pytest.raises(FaceganError, match=r"--against: expected pictures of one size; found 32×32 pixels and, in 025.png, 48×32 pixels"):
        extract_pictures(tmp_path, "--against", extractor)


def test_a_picture_that_cannot_be_read_is_refused_by_name(tmp_path, fakes, extractor):
    save_pictures(tmp_path, fakes)
    (tmp_path / "007.png").write_bytes(b"no picture")
    with pytest.raises(FaceganError, match=r"--pictures: expected a picture in 007.png"):
        extract_pictures(tmp_path, "--pictures", extractor)


@pytest.mark.parametrize(("count", "expected"), [(0, r"found 0, 1 .txt"), (19, "at least 20 pictures .* found 19")])
def test_too_few_pictures_are_refused(tmp_path, fakes, extractor, count, expected):
    save_pictures(tmp_path, fakes[:count])
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(FaceganError, match=f"--pictures: .*{expected}"):
        extract_pictures(tmp_path, "--pictures", extractor)


def test_a_file_that_is_no_zip_and_a_damaged_zip_say_so(tmp_path, folder, extractor):
    (tmp_path / "notes.txt").write_text("no pictures")
    with pytest.raises(FaceganError, match=r"expected a zip archive in .*notes\.txt"):
        extract_pictures(tmp_path / "notes.txt", "--pictures", extractor)
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    content = bytearray((tmp_path / "damaged.zip").read_bytes())
    content[100] ^= 255
    (tmp_path / "damaged.zip").write_bytes(content)
    with pytest.raises(FaceganError, match=r"expected 0..\.png in .*damaged.zip"):
        extract_pictures(tmp_path / "damaged.zip", "--pictures", extractor)


def test_what_is_no_picture_is_told(tmp_path, extractor, capsys):
    folder = save_pictures(tmp_path / "pictures", draw_pictures(25, 32))
    (folder / "notes.txt").write_text("of another kind")
    assert len(extract_pictures(folder, "--pictures", extractor).features) == 25
    told = capsys.readouterr().out
    assert "--pictures: 25 pictures in pictures; left out: 1" in told


def test_no_folder_says_so(tmp_path, extractor):
    with pytest.raises(FaceganError, match=r"--pictures: expected a folder or a zip file of pictures; found nothing at .*none"):
        extract_pictures(tmp_path / "none", "--pictures", extractor)


def run_evaluate(*arguments):
    return run_script(ROOT / "stages/evaluate.py", *arguments)


def test_the_stage_scores_two_folders_and_writes_only_what_it_is_told_to(tmp_path, folder):
    metrics = ROOT / "metrics" / "evaluate.json"
    before = metrics.read_bytes() if metrics.is_file() else None
    real = save_pictures(tmp_path / "real", draw_pictures(25, 32))
    done = run_evaluate("--pictures", folder, "--against", real, "--metrics", tmp_path / "scores.json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "30 pictures against 25 real images" in done.stdout
    scores, report = (json.loads(path.read_text()) for path in (tmp_path / "scores.json", tmp_path / "out/report.json"))
    assert scores[FD] == report["generated"][FD] and scores["protocol"] == report["protocol"]["fingerprint"]
    assert f"{FD}: {scores[FD]:.6g}" in done.stdout
    assert (metrics.read_bytes() if metrics.is_file() else None) == before


def test_the_stage_tells_a_wrong_command_line(tmp_path):
    assert "--against needs --pictures" in run_evaluate("--against", tmp_path).stderr
    assert "not allowed with" in run_evaluate("--model", "a", "--pictures", tmp_path).stderr


def test_transparency_and_grey_become_what_preprocessing_makes_of_them(tmp_path, extractor):
    grey = Image.fromarray(draw_pictures(1, 32)[0, 0])
    for number in range(20):
        grey.save(tmp_path / f"{number}.png")
    expected = extract(extractor, [torch.from_numpy(np.asarray(grey.convert("RGB")).transpose(2, 0, 1).copy())[None]])
    assert (extract_pictures(tmp_path, "--pictures", extractor).features - expected).abs().max() < 1e-5
