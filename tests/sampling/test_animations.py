"""Animations: seamless walks and blends, and the progress of the training."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from small_generators import build_small, choose, make_generator, read_frames

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.sampling.animations import draw_blend, draw_loops, draw_progress, draw_walk
from facegan.sampling.faces import draw_chosen


def test_walk_has_no_seam(tmp_path):
    draw_walk(make_generator(), choose(), tmp_path)
    frames, info = read_frames(tmp_path / "walk.webp")
    assert len(frames) == 120 and frames[0].shape == (2 * 96, 3 * 96, 3) and info["loop"] == 0  # endless
    steps = [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]
    assert np.abs(frames[0] - frames[-1]).mean() < 1.5 * max(steps)
    assert np.abs(frames[0] - frames[60]).mean() > 5 * np.mean(steps)  # the faces do change


@pytest.mark.parametrize("model", ["dcgan", "tutorial28"])  # normally and uniformly distributed latents
def test_walk_follows_the_latent_distribution(model):
    generator, _ = build_small(model)
    loops = draw_loops(generator, count=500, frames=24, seed=0)  # (24, 500, 16)
    probabilities = (loops.double() + 1) / 2 if model == "tutorial28" else torch.special.ndtr(loops.double())
    values = probabilities.flatten(1).sort(dim=1).values  # uniformly distributed in [0, 1] at every frame
    expected = (torch.arange(values.shape[1]) + 0.5) / values.shape[1]
    assert (values - expected).abs().max() < 0.03  # the Kolmogorov-Smirnov statistic
    steps = (loops - loops.roll(1, 0)).flatten(1).norm(dim=1)  # including the step from the last frame to the first
    assert steps.max() < 1.05 * steps.min()
    assert torch.equal(loops, draw_loops(generator, 500, 24, 0))


def test_blend_shows_the_two_faces(tmp_path):
    generator = make_generator()
    path = draw_blend(generator, choose(seed=3, truncation=0.8), (12, 40), tmp_path)
    assert path.name == "seed3_face0012_to_0040.webp"
    frames, info = read_frames(path)
    assert len(frames) == 80 and frames[0].shape == (256, 256, 3) and info["loop"] == 0
    files = draw_chosen(generator, choose(seed=3, truncation=0.8), [12, 40], tmp_path, 256)
    faces = [np.asarray(Image.open(file), dtype=float) for file in files]
    errors = [np.abs(frames[index] - face).mean() for index, face in zip((0, 40), faces, strict=True)]
    assert max(errors) < 0.2 * np.abs(faces[0] - faces[1]).mean()  # WebP is lossy
    assert draw_blend(generator, choose(seed=3, truncation=0.8), (12, 40), tmp_path / "again").read_bytes() == path.read_bytes()


def test_blend_with_an_invalid_number_is_reported(tmp_path):
    with pytest.raises(FaceganError, match="found -2"):
        draw_blend(make_generator(), choose(), (3, -2), tmp_path)


def test_progress_animation_holds_the_last_image(tmp_path):
    shades = [10, 90, 170, 250]
    for number, shade in enumerate(shades):
        save_png(tmp_path / f"progress/{number * 1000:010d}.png", np.full((64, 64, 3), shade, np.uint8))
    draw_progress(tmp_path / "progress", tmp_path)
    frames, info = read_frames(tmp_path / "progress.gif")
    assert [frame.mean().round() for frame in frames] == shades and frames[0].shape == (320, 320, 3)
    assert info["duration"] == 2_000 and info["loop"] == 0


def test_long_progress_is_thinned_and_large_images_shrink(tmp_path):
    for number in range(130):
        save_png(tmp_path / f"progress/{number:010d}.png", np.full((8, 1280, 3), number * 97 % 256, np.uint8))
    draw_progress(tmp_path / "progress", tmp_path)
    frames, _ = read_frames(tmp_path / "progress.gif")
    assert len(frames) == 100 and frames[0].shape == (4, 640, 3)
    assert (frames[0].mean(), frames[-1].mean()) == pytest.approx((0, 129 * 97 % 256), abs=2)


def test_missing_progress_is_reported(tmp_path):
    with pytest.raises(FaceganError, match=r"expected progress images .* found none"):
        draw_progress(tmp_path, tmp_path)
