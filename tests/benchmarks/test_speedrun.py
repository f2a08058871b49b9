"""The speedrun: it trains what a preset says and what tutorials teach, scores both on the way, and reads its own records right."""

import json

import pytest
import torch
from PIL import Image
from projects import ROOT, make_shards

from benchmarks.speedrun import TRACKS, Ours, Taught, make_table, open_record, run_seed, save_grid, seconds_until, shorten
from benchmarks.train_speed import TAUGHT, Case
from facegan.common.errors import FaceganError
from facegan.common.shards import open_split
from facegan.models.parameters import DCGANParameters
from facegan.scoring.quick_score import QuickScore
from facegan.training.hardware import choose_hardware
from presets import read_preset

POINTS = [
    {"images": 100, "cpu_seconds": 4.0, "wall_seconds": 5.0, "score": 230.0},
    {"images": 200, "cpu_seconds": 8.0, "wall_seconds": 9.0, "score": 190.0},
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    project = tmp_path_factory.mktemp("speedrun")
    make_shards(project, count=40)
    return project / "data" / "shards"


@pytest.fixture(scope="module")
def hardware():
    return choose_hardware("cpu", "auto")


def run(make, shards, hardware):
    """Returns the points of a run of 64 images, and its generator."""
    score = QuickScore(torch.cat(open_split(shards, "train")), 0, hardware.device)
    return run_seed(make, 64, 2, score, hardware)


def test_a_preset_and_the_tutorials_loop_are_trained_scored_and_drawn(shards, hardware, tmp_path):
    parameters = shorten(read_preset("demo", preprocess={"resolution": 32}, model={"width": 4}), 32, seed=1)
    assert (parameters.train.images, parameters.train.schedule_images, parameters.train.seed) == (32, 32, 1)
    ours, our_generator = run(lambda: Ours(parameters, shards, hardware), shards, hardware)
    network = DCGANParameters(name="dcgan", width=4, latent_size=8, discriminator_norm="batch")
    taught = read_preset("demo", train=TAUGHT | {"batch": 8}).train
    theirs, their_generator = run(lambda: Taught(Case("taught", 32, network, taught), shards, hardware), shards, hardware)
    for points in (ours, theirs):
        assert [point["images"] for point in points] == [16, 64]
        assert 0 <= points[0]["cpu_seconds"] <= points[1]["cpu_seconds"]
        assert all(point["score"] > 0 and point["fd_pixels16"] > 0 for point in points)
    for generator in (our_generator, their_generator):
        save_grid(tmp_path / "grids" / "faces.png", generator)
        with Image.open(tmp_path / "grids" / "faces.png") as grid:
            assert grid.size == (8 * 32, 8 * 32)


def test_a_shorter_run_grows_earlier():
    parameters = read_preset("demo", model={"grow_images": [40, 300]}, train={"images": 400})
    assert shorten(parameters, 100, seed=0).model.grow_images == (10, 75)


def test_the_time_to_a_score_is_that_of_the_first_point_at_or_below_it():
    assert seconds_until(POINTS, 230, "cpu_seconds") == 4
    assert seconds_until(POINTS, 200, "wall_seconds") == 9
    assert seconds_until(POINTS, 180, "cpu_seconds") is None


def test_the_table_tells_how_many_seeds_got_there():
    slower = [POINTS[0] | {"score": 250.0}, POINTS[1] | {"score": 210.0}]
    lines = make_table(TRACKS["avatars32"], [POINTS, slower]).splitlines()
    assert "| 220 | 8 (8 to 8) | 9 (9 to 9) |" in lines
    assert "| 200 | 1 of 2 seeds | 1 of 2 seeds |" in lines
    assert not any(line.startswith("| 180") for line in lines)
    assert lines[-1].startswith("| at the end: 200.0 (190.0 to 210.0)")


def test_structure_has_its_own_table_if_all_points_have_it():
    runs = [[point | {"fd_pixels16": distance} for point, distance in zip(POINTS, (90.0, 45.0), strict=True)]]
    score, structure = make_table(TRACKS["avatars32"], runs).split("\n\n")
    assert score.startswith("| fd_efficientnet_lite0 |") and structure.startswith("| fd_pixels16 |")
    assert "| 50 | 8 (8 to 8) | 9 (9 to 9) |" in structure and "| 40 |" not in structure
    assert "\n\n" not in make_table(TRACKS["avatars32"], [POINTS, *runs])


@pytest.mark.parametrize("path", sorted((ROOT / "docs/speedrun").glob("*.json")), ids=lambda path: path.stem)
def test_records_are_gone_on_with_and_not_mixed(path):
    track, recipe = json.loads(path.read_text())["track"], json.loads(path.read_text())["recipe"]
    record = open_record(path, track, recipe)
    assert record.runs and record.model_dump() == json.loads(path.read_text())
    with pytest.raises(FaceganError, match="name another file"):
        open_record(path, track, "presets/another.yaml")
