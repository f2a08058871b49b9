"""Sampling: the same bytes for the same seed, walks without a seam, and the stage as a process."""

import dataclasses
import itertools
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.models.dcgan import DCGANArguments
from facegan.models.generator_file import Card, load_generator, save_generator
from facegan.models.registry import build_generator
from facegan.models.stylegan2 import StyleGAN2Arguments
from facegan.models.tutorial28 import Tutorial28Arguments
from facegan.sampling.drawing import SampleParameters, choose_evenly, draw_faces, draw_loops, draw_losses, draw_progress, draw_walk, enlarge

ROOT = Path(__file__).resolve().parents[2]
HEADER = "images_seen,loss_generator,loss_discriminator,real_logit,fake_logit\n"


def make_generator(seed=0, gain=20.0):
    """Returns a small generator with weights so large that its faces differ visibly."""
    torch.manual_seed(seed)
    generator = build_generator("dcgan", 32, DCGANArguments(4, 16, "batch")).eval()
    with torch.no_grad():
        for layer in generator.layers:
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.mul_(gain)
    return generator


def save(path, generator):
    arguments = dataclasses.asdict(DCGANArguments(4, 16, "batch"))
    save_generator(path, generator, Card("dcgan", arguments, 32, 16, 1000, "data", "parameters"))


def read_all(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_frames(path):
    frames = []
    with Image.open(path) as animation:
        for number in range(animation.n_frames):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB"), dtype=float))
        return frames, animation.info


def test_same_seed_same_bytes_other_seed_other_faces(tmp_path):
    generator = make_generator()
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        draw_faces(generator, SampleParameters(seed, 3, 1.0), tmp_path / name)
        draw_walk(generator, SampleParameters(seed, 3, 1.0), tmp_path / name)
    one, again, two = (read_all(tmp_path / name) for name in ("one", "again", "two"))
    assert sorted(one) == ["faces/0000.png", "faces/0001.png", "faces/0002.png", "grid.png", "walk.webp"]
    assert one == again
    assert all(one[name] != two[name] for name in one)


def test_faces_are_the_first_of_the_grid_and_stay_when_more_are_drawn(tmp_path):
    generator = make_generator()
    draw_faces(generator, SampleParameters(0, 2, 1.0), tmp_path / "few")
    draw_faces(generator, SampleParameters(0, 70, 1.0), tmp_path / "many")
    few, many = read_all(tmp_path / "few"), read_all(tmp_path / "many")
    assert len(many) == 71
    assert all(few[name] == many[name] for name in few)
    grid = np.asarray(Image.open(tmp_path / "few/grid.png"))
    second = np.asarray(Image.open(tmp_path / "few/faces/0001.png"))
    assert grid.shape == (8 * 64, 8 * 64, 3) and second.shape == (128, 128, 3)
    assert np.array_equal(grid[:64:2, 64:128:2], second[::4, ::4])  # both are the 32 px face, each pixel repeated


def test_earlier_faces_go_and_other_files_stay(tmp_path):
    for count in (5, 2):
        draw_faces(make_generator(), SampleParameters(0, count, 1.0), tmp_path)
        (tmp_path / "faces/grandmother.png").touch()
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["0000.png", "0001.png", "grandmother.png"]


def test_truncation_makes_faces_alike(tmp_path):
    generator = make_generator()
    spread = {}
    for truncation in (0.01, 1.0):
        draw_faces(generator, SampleParameters(0, 8, truncation), tmp_path / str(truncation))
        faces = [np.asarray(Image.open(path), dtype=float) for path in (tmp_path / str(truncation) / "faces").iterdir()]
        spread[truncation] = np.std(faces, axis=0).mean()
    assert spread[0.01] < 0.1 * spread[1.0]


def test_truncation_moves_styles_where_a_generator_has_them(tmp_path):
    torch.manual_seed(0)
    generator = build_generator("stylegan2", 32, StyleGAN2Arguments(width=8, latent_size=16)).eval()
    for truncation in (0.01, 1.0):
        draw_faces(generator, SampleParameters(0, 1, truncation), tmp_path / str(truncation))
        assert generator.truncation == truncation
    assert (tmp_path / "1.0/grid.png").read_bytes() != (tmp_path / "0.01/grid.png").read_bytes()


def test_walk_has_no_seam(tmp_path):
    draw_walk(make_generator(), SampleParameters(0, 1, 1.0), tmp_path)
    frames, info = read_frames(tmp_path / "walk.webp")
    assert len(frames) == 120 and frames[0].shape == (2 * 96, 3 * 96, 3)
    assert info["loop"] == 0  # for ever
    steps = [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]
    assert np.abs(frames[0] - frames[-1]).mean() < 1.5 * max(steps)
    assert np.abs(frames[0] - frames[60]).mean() > 5 * np.mean(steps)  # and it does lead somewhere


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_every_step_of_a_walk_is_a_likely_latent(kind):
    generator = make_generator() if kind == "normal" else build_generator("tutorial28", 28, Tutorial28Arguments(16, 16, 0.5, "batch"))
    loops = draw_loops(generator, count=500, frames=24, seed=0)  # (24, 500, 16)
    assert loops.shape == (24, 500, 16)
    chances = (loops.double() + 1) / 2 if kind == "uniform" else torch.special.ndtr(loops.double())  # uniform in [0, 1]
    values = chances.flatten(1).sort(dim=1).values
    places = (torch.arange(values.shape[1]) + 0.5) / values.shape[1]
    assert (values - places).abs().max() < 0.03  # Kolmogorov's distance, at every frame
    steps = (loops - loops.roll(1, 0)).flatten(1).norm(dim=1)  # the one across the end among them
    assert steps.max() < 1.05 * steps.min()
    assert torch.equal(loops, draw_loops(generator, 500, 24, 0))


def test_progress_animation_holds_the_last_picture(tmp_path):
    shades = [10, 90, 170, 250]
    for number, shade in enumerate(shades):
        save_png(tmp_path / f"progress/{number * 1000:010d}.png", np.full((64, 64, 3), shade, np.uint8))
    draw_progress(tmp_path / "progress", tmp_path)
    frames, info = read_frames(tmp_path / "progress.gif")
    assert [frame.mean().round() for frame in frames] == shades
    assert frames[0].shape == (320, 320, 3)
    assert info["duration"] == 2_000 and info["loop"] == 0


def test_long_progress_is_thinned_and_large_pictures_shrink(tmp_path):
    for number in range(130):
        save_png(tmp_path / f"progress/{number:010d}.png", np.full((8, 1280, 3), number, np.uint8))
    draw_progress(tmp_path / "progress", tmp_path)
    frames, _ = read_frames(tmp_path / "progress.gif")
    assert len(frames) == 100 and frames[0].shape == (4, 640, 3)
    assert (frames[0].mean(), frames[-1].mean()) == (0, 129)


def test_choose_evenly_keeps_both_ends():
    assert choose_evenly(5, 10) == [0, 1, 2, 3, 4]
    assert choose_evenly(9, 3) == [0, 4, 8]
    assert choose_evenly(1, 10) == [0]


def test_enlarge_repeats_pixels():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(enlarge(picture, side=2, least=5)[::3, ::3], picture)  # three times: the first whole factor to reach 5
    assert enlarge(picture, side=200, least=128) is not None and enlarge(picture, 200, 128).shape == (2, 2, 3)


def test_losses_are_drawn_the_same_each_time(tmp_path):
    rows = "".join(f"{n},{math.sin(n)},{math.cos(n)},1,-1\n" for n in range(20))
    (tmp_path / "losses.csv").write_text(HEADER + rows)
    draw_losses(tmp_path / "losses.csv", tmp_path / "one")
    draw_losses(tmp_path / "losses.csv", tmp_path / "two")
    assert read_all(tmp_path / "one") == read_all(tmp_path / "two")
    assert Image.open(tmp_path / "one/losses.png").size == (800, 600)


def test_missing_inputs_are_told(tmp_path):
    with pytest.raises(FaceganError, match=r"expected progress pictures .* found none"):
        draw_progress(tmp_path, tmp_path)
    with pytest.raises(FaceganError, match=r"expected the losses in .* found no such file"):
        draw_losses(tmp_path / "losses.csv", tmp_path)
    (tmp_path / "losses.csv").write_text("images_seen,loss_generator\n1,2\n")
    with pytest.raises(FaceganError, match=r"found no loss_discriminator, real_logit, fake_logit"):
        draw_losses(tmp_path / "losses.csv", tmp_path)


@pytest.fixture
def project(tmp_path):
    """A copy of the project with a trained model's files in it."""
    for name in ("facegan", "stages", "pretrained"):
        shutil.copytree(ROOT / name, tmp_path / "project" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", tmp_path / "project")
    return tmp_path / "project"


def run_stage(project, *arguments, script="stages/sample.py"):
    command = [sys.executable, str(project / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=project.parent, timeout=300)


def test_stage_draws_everything_in_the_pipeline(project):
    save(project / "data/model/generator.safetensors", make_generator())
    for number in range(3):
        save_png(project / f"data/model/progress/{number:010d}.png", np.full((32, 32, 3), 80 * number, np.uint8))
    (project / "metrics").mkdir()
    (project / "metrics/losses.csv").write_text(HEADER + "0,1,1,0,0\n1000,2,0.5,1,-1\n")
    result = run_stage(project)
    assert result.returncode == 0, result.stderr
    made = sorted(read_all(project / "data/samples"))
    assert made == [*(f"faces/{number:04d}.png" for number in range(10)), "grid.png", "losses.png", "progress.gif", "walk.webp"]
    assert "10 faces in faces/" in result.stdout and "trained on 1,000 images" in result.stdout


def test_stage_needs_nothing_but_a_model(project, tmp_path):
    save(tmp_path / "elsewhere.safetensors", make_generator())
    result = run_stage(project, "--model", tmp_path / "elsewhere.safetensors", "--seed", 7, "--count", 4, "--out", tmp_path / "faces")
    assert result.returncode == 0, result.stderr
    assert sorted(read_all(tmp_path / "faces")) == [*(f"faces/{number:04d}.png" for number in range(4)), "grid.png", "walk.webp"]
    draw_faces(make_generator(), SampleParameters(7, 4, 1.0), tmp_path / "here")
    assert (tmp_path / "here/grid.png").read_bytes() == (tmp_path / "faces/grid.png").read_bytes()


def test_stage_errors_are_one_line(project, tmp_path):
    result = run_stage(project)
    assert result.returncode == 1
    assert result.stderr.startswith("error: expected a generator at ") and result.stderr.count("\n") == 1
    result = run_stage(project, "--count", 0)
    assert result.returncode == 1 and "sample.count: expected a whole number at least 1; found 0" in result.stderr
    save(tmp_path / "model.safetensors", make_generator())
    (tmp_path / "taken").touch()
    result = run_stage(project, "--model", tmp_path / "model.safetensors", "--out", tmp_path / "taken")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "error: expected to read and write files; found [Errno 20] Not a directory: " in result.stderr


def test_published_copy_is_half_the_size_and_draws_the_same_faces(project, tmp_path):
    save(tmp_path / "whole.safetensors", make_generator(gain=5.0))
    result = run_stage(project, "--model", tmp_path / "whole.safetensors", "--out", tmp_path / "shared/half.safetensors", script="pretrained/publish.py")
    assert result.returncode == 0, result.stderr
    whole, half = tmp_path / "whole.safetensors", tmp_path / "shared/half.safetensors"
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for path, name in ((whole, "whole"), (half, "half")):
        generator, card = load_generator(path)
        assert card.images_seen == 1000
        draw_faces(generator, SampleParameters(0, 1, 1.0), tmp_path / name)
    pictures = [np.asarray(Image.open(tmp_path / name / "grid.png"), dtype=int) for name in ("whole", "half")]
    assert 0 < np.abs(pictures[0] - pictures[1]).max() <= 8


def test_the_generator_that_ships_draws_ten_different_faces_in_many_colours(tmp_path):
    shipped = ROOT / "pretrained/avatars.safetensors"
    assert shipped.stat().st_size < 2_000_000
    generator, card = load_generator(shipped)
    assert card.images_seen >= 100_000
    draw_faces(generator, SampleParameters(0, 10, 1.0), tmp_path)
    faces = np.stack([np.asarray(Image.open(path), dtype=float) for path in sorted((tmp_path / "faces").iterdir())])
    distances = [np.abs(one - other).mean() for one, other in itertools.combinations(faces, 2)]
    assert min(distances) > 15  # of 255: no two are nearly the same
    middle, corners = faces[:, 32:96, 40:88], faces[:, :16, :16]
    assert np.abs(middle.mean((1, 2)) - corners.mean((1, 2))).max(1).min() > 10  # a face stands out from its background
    mirrored = np.abs(middle - middle[:, :, ::-1]).mean()
    shuffled = np.abs(middle - np.roll(middle, 1, axis=0)).mean()
    assert mirrored < 0.8 * shuffled  # faces are more like their own mirror images than like each other
