"""Images in folders and zips get the same scores as their generator; images that would bias the scores are rejected."""

import json
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from projects import ROOT, draw_pictures, run_script
from references import open_lite, refer, save_pictures, write_shards

from facegan.common.errors import FaceganError
from facegan.scoring.extractors import extract
from facegan.scoring.memorisation import measure_memorisation
from facegan.scoring.picture_scores import check_same_size, extract_pictures, score_pictures
from facegan.scoring.protocol import PictureProtocol
from facegan.scoring.scores import compare_all, extract_features

FD = "fd_efficientnet_lite0"


def read(path, option="--pictures"):
    return extract_pictures(path, option, open_lite())


def save_zip(path, folder):
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"faces/{file.name}")
    return path


@pytest.fixture(scope="module")
def fakes():
    return draw_pictures(30, 32, seed=1) // 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory, fakes):
    return save_pictures(tmp_path_factory.mktemp("pictures"), fakes)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    shards = tmp_path_factory.mktemp("reference") / "shards"
    write_shards(shards, draw_pictures(80, 32)[::2], draw_pictures(80, 32)[1::2])
    return refer(shards, images=30)


@pytest.fixture(scope="module")
def report(folder, reference):
    return score_pictures(read(folder), reference, open_lite(), seed=0)


def test_images_score_like_their_generator(report, reference, fakes):
    features = extract_features(open_lite(), reference.components, torch.from_numpy(fakes).split(16))
    expected = compare_all(reference.real, features, open_lite())
    assert set(report["generated"]) == set(expected)
    scores = ("fd", "precision", "recall", "density", "coverage")
    for name in (f"{name}_{space}" for name in scores for space in ("efficientnet_lite0", "pixels16")):
        assert report["generated"][name] == pytest.approx(expected[name], rel=1e-5), name
    found = measure_memorisation(features.network, reference.holdout, reference.train, seed=0)
    assert report["memorisation"]["nearest_is_training"]["share"] == pytest.approx(found.nearest_is_training.share, rel=1e-8)
    assert report["floor"][FD] == pytest.approx(reference.floor[FD], rel=1e-8)


def test_protocol_describes_both_sets(report, reference):
    protocol = dict(report["protocol"])
    assert (protocol["generated"], protocol["real"], protocol["resolution"], protocol["data"]) == (30, 30, 32, reference.protocol.data)
    assert protocol.pop("fingerprint") == PictureProtocol(**protocol).fingerprint


def test_zip_scores_like_its_folder(tmp_path, folder, reference, report):
    other = score_pictures(read(save_zip(tmp_path / "pictures.zip", folder)), reference, open_lite(), seed=0)
    assert {**other, "pictures": None} == {**report, "pictures": None}


def test_images_compared_with_themselves_are_perfect(folder):
    pictures = read(folder)
    found = score_pictures(pictures, pictures, open_lite(), seed=0)
    assert found["generated"][FD] < 1e-6 and found["generated"]["recall_efficientnet_lite0"] == 1
    assert found["protocol"]["data"] == found["pictures"]["sha256"]
    assert "floor" not in found and "memorisation" not in found


def test_enlarged_images_are_rejected(tmp_path, fakes, reference):
    save_pictures(tmp_path, fakes.repeat(2, 2).repeat(2, 3))
    with pytest.raises(FaceganError, match=r"expected images of 32×32 pixels, .* found 64×64 .* --native"):
        score_pictures(read(tmp_path), reference, open_lite(), seed=0)


def test_another_size_is_reported_before_features_are_computed(tmp_path, fakes):
    save_pictures(tmp_path / "fakes", fakes.repeat(2, 2).repeat(2, 3))
    real = save_pictures(tmp_path / "real", fakes)
    for expected in (real, save_zip(tmp_path / "real.zip", real), (32, 32)):
        with pytest.raises(FaceganError, match=r"expected images of 32×32 pixels, .* found 64×64"):
            check_same_size(tmp_path / "fakes", expected)
        check_same_size(real, expected)
        check_same_size(tmp_path / "missing", expected)


def test_images_of_several_sizes_are_rejected(tmp_path, fakes):
    save_pictures(tmp_path, [*fakes[:25], np.zeros((3, 32, 48), dtype=np.uint8)])
    with pytest.raises(FaceganError, match=r"--against: expected images of one size; found 32×32 pixels and, in 025.png, 48×32 pixels"):
        read(tmp_path, "--against")


def test_unreadable_image_is_rejected_by_name(tmp_path, fakes):
    (save_pictures(tmp_path, fakes) / "007.png").write_bytes(b"not an image")
    with pytest.raises(FaceganError, match=r"--pictures: expected an image in 007.png"):
        read(tmp_path)


def test_other_files_are_skipped_and_reported(tmp_path, fakes, capsys):
    (save_pictures(tmp_path, fakes) / "notes.txt").write_text("not an image")
    assert len(read(tmp_path).features) == 30 and "; skipped: 1 .txt" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "found"), [(0, "found 0, 1 .txt"), (19, "at least 20 images .* found 19")])
def test_too_few_images_are_rejected(tmp_path, fakes, count, found):
    (save_pictures(tmp_path, fakes[:count]) / "notes.txt").write_text("not an image")
    with pytest.raises(FaceganError, match=f"--pictures: .*{found}"):
        read(tmp_path)


def test_invalid_paths_and_zips_are_rejected(tmp_path, folder):
    (tmp_path / "notes.txt").write_text("not a zip")
    content = bytearray(save_zip(tmp_path / "damaged.zip", folder).read_bytes())
    content[100] ^= 255
    (tmp_path / "damaged.zip").write_bytes(content)
    for name, expected in (("missing", "a folder or a zip"), ("notes.txt", "a zip archive"), ("damaged.zip", r".*0..\.png in ")):
        with pytest.raises(FaceganError, match=rf"expected {expected}.*{name}"):
            read(tmp_path / name)


def test_grey_images_are_converted_to_rgb(tmp_path):
    grey = Image.fromarray(draw_pictures(1, 32)[0, 0])
    for number in range(20):
        grey.save(tmp_path / f"{number}.png")
    expected = extract(open_lite(), [torch.from_numpy(np.asarray(grey.convert("RGB")).transpose(2, 0, 1).copy())[None]])
    assert (read(tmp_path).features - expected).abs().max() < 1e-5


def run_evaluate(*arguments):
    return run_script(ROOT / "stages/evaluate.py", *arguments)


def test_stage_scores_two_folders_and_writes_only_the_requested_files(tmp_path, folder):
    metrics = ROOT / "metrics" / "evaluate.json"
    before = metrics.read_bytes() if metrics.is_file() else None
    real = save_pictures(tmp_path / "real", draw_pictures(25, 32))
    done = run_evaluate("--pictures", folder, "--against", real, "--metrics", tmp_path / "scores.json", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "30 images against 25 real images" in done.stdout
    scores, report = (json.loads(path.read_text()) for path in (tmp_path / "scores.json", tmp_path / "out/report.json"))
    assert scores[FD] == report["generated"][FD] and scores["protocol"] == report["protocol"]["fingerprint"]
    assert f"{FD}: {scores[FD]:.6g}" in done.stdout
    assert (metrics.read_bytes() if metrics.is_file() else None) == before


def test_stage_rejects_contradictory_options(tmp_path):
    assert "--against needs --pictures" in run_evaluate("--against", tmp_path).stderr
    assert "not allowed with" in run_evaluate("--model", "a", "--pictures", tmp_path).stderr
