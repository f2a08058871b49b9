"""Walks without a seam, and the training's progress."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_generators import choose, make_generator, read_frames

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.models.latents import seeded_latents
from facegan.models.parameters import Tutorial28Parameters
from facegan.models.registry import build_generator
from facegan.sampling.animations import choose_evenly, draw_blend, draw_loops, draw_progress, draw_walk, loop_between
from facegan.sampling.faces import draw_chosen


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
    uniform = Tutorial28Parameters(name="tutorial28", width=16, latent_size=20, dropout=0.5, discriminator_norm="batch")
    generator = make_generator() if kind == "normal" else build_generator(uniform, 28)
    loops = draw_loops(generator, count=500, frames=24, seed=0)  # (24, 500, 20)
    assert loops.shape == (24, 500, 20)
    chances = (loops.double() + 1) / 2 if kind == "uniform" else torch.special.ndtr(loops.double())  # uniform in [0, 1]
    values = chances.flatten(1).sort(dim=1).values
    places = (torch.arange(values.shape[1]) + 0.5) / values.shape[1]
    assert (values - places).abs().max() < 0.03  # Kolmogorov's distance, at every frame
    steps = (loops - loops.roll(1, 0)).flatten(1).norm(dim=1)  # the one across the end among them
    assert steps.max() < 1.05 * steps.min()
    assert torch.equal(loops, draw_loops(generator, 500, 24, 0))


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_a_blend_goes_from_one_face_to_the_other_and_back_by_likely_latents(kind):
    generator = SimpleNamespace(latent_size=4000, latent_distribution=kind)
    first, second = seeded_latents(generator, 2, seed=1)
    ways = loop_between(generator, first, second, frames=40)  # (40, 4000)
    assert torch.allclose(ways[0], first, atol=1e-5) and torch.allclose(ways[20], second, atol=1e-5)
    assert torch.allclose(ways[1:20], ways[21:].flip(0), atol=1e-5)
    chances = (ways.double() + 1) / 2 if kind == "uniform" else torch.special.ndtr(ways.double())
    values = chances.sort(dim=1).values
    assert (values - (torch.arange(4000) + 0.5) / 4000).abs().max() < 0.035  # Kolmogorov's distance, at every frame
    steps = (ways - ways.roll(1, 0)).norm(dim=1)
    assert steps.argmax() in range(5, 16) or steps.argmax() in range(25, 36)
    assert steps[0] < 0.2 * steps.max()  # slow at both ends


def test_a_uniform_latent_at_its_very_end_stays_finite():
    generator = SimpleNamespace(latent_size=2, latent_distribution="uniform")
    assert loop_between(generator, torch.tensor([-1.0, 1.0]), torch.tensor([0.5, -1.0]), 10).isfinite().all()


def test_a_blend_shows_the_two_chosen_faces(tmp_path):
    generator = make_generator()
    path = draw_blend(generator, choose(seed=3), (12, 40), tmp_path)
    assert path.name == "seed3_face0012_to_0040.webp"
    frames, info = read_frames(path)
    assert len(frames) == 80 and frames[0].shape == (256, 256, 3) and info["loop"] == 0
    faces = [np.asarray(Image.open(file), dtype=float) for file in draw_chosen(generator, choose(seed=3), [12, 40], tmp_path, 256)]
    there = [np.abs(frames[index] - face).mean() for index, face in zip((0, 40), faces, strict=True)]
    apart = np.abs(faces[0] - faces[1]).mean()
    assert max(there) < 0.2 * apart  # what WebP loses
    assert draw_blend(generator, choose(seed=3), (12, 40), tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_blend_with_a_face_that_there_is_not_is_told(tmp_path):
    with pytest.raises(FaceganError, match=r"expected numbers of faces from 0 to 999,999; found -2"):
        draw_blend(make_generator(), choose(), (3, -2), tmp_path)


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
