"""Walks without a seam, and the training's progress."""

import itertools

import numpy as np
import pytest
import torch
from small_generators import choose, make_generator, read_frames

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.models.parameters import Tutorial28Parameters
from facegan.models.registry import build_generator
from facegan.sampling.animations import choose_evenly, draw_loops, draw_progress, draw_walk


def test_walk_has_no_seam(tmp_path):
    draw_walk(make_generator(), choose(), tmp_path)
    frames, info = read_frames(tmp_path / "walk.webp")
    assert len(frames) == 120 and frames[0].shape == (2 * 96, 3 * 96, 3)
    assert info["loop"] == 0  # for ever
    steps = [np.abs(after - before).mean() for before, after in itertools.pairwise(frames)]
    assert np.abs(frames[0] - frames[-1]).mean() < 1.5 * max(steps)
    assert np.abs(frames[0] - frames[60]).mean() > 5 * np.mean(steps)  # and it does lead somewhere


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_every_step_of_a_walk_is_a_likely_latent(kind):
    uniform = Tutorial28Parameters(name="tutorial28", width=16, latent_size=16, dropout=0.5, discriminator_norm="batch")
    generator = make_generator() if kind == "normal" else build_generator(uniform, 28)
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


def test_no_progress_pictures_are_told(tmp_path):
    with pytest.raises(FaceganError, match=r"expected progress pictures .* found none"):
        draw_progress(tmp_path, tmp_path)


def test_choose_evenly_keeps_both_ends():
    assert choose_evenly(5, 10) == [0, 1, 2, 3, 4]
    assert choose_evenly(9, 3) == [0, 4, 8]
    assert choose_evenly(1, 10) == [0]
