"""Faces and grids: the same bytes for the same seed, and what truncation does."""

import itertools

import numpy as np
import torch
from PIL import Image
from projects import ROOT
from small_generators import choose, make_generator, read_all

from facegan.models.generator_file import load_generator
from facegan.models.parameters import StyleGAN2Parameters
from facegan.models.registry import build_generator
from facegan.sampling.animations import draw_walk
from facegan.sampling.faces import draw_faces, enlarge


def test_same_seed_same_bytes_other_seed_other_faces(tmp_path):
    generator = make_generator()
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        draw_faces(generator, choose(seed, 3), tmp_path / name)
        draw_walk(generator, choose(seed, 3), tmp_path / name)
    one, again, two = (read_all(tmp_path / name) for name in ("one", "again", "two"))
    assert sorted(one) == ["faces/0000.png", "faces/0001.png", "faces/0002.png", "grid.png", "walk.webp"]
    assert one == again
    assert all(one[name] != two[name] for name in one)


def test_faces_are_the_first_of_the_grid_and_stay_when_more_are_drawn(tmp_path):
    generator = make_generator()
    draw_faces(generator, choose(count=2), tmp_path / "few")
    draw_faces(generator, choose(count=70), tmp_path / "many")
    few, many = read_all(tmp_path / "few"), read_all(tmp_path / "many")
    assert len(many) == 71
    assert all(few[name] == many[name] for name in few)
    grid = np.asarray(Image.open(tmp_path / "few/grid.png"))
    second = np.asarray(Image.open(tmp_path / "few/faces/0001.png"))
    assert grid.shape == (8 * 64, 8 * 64, 3) and second.shape == (128, 128, 3)
    assert np.array_equal(grid[:64:2, 64:128:2], second[::4, ::4])  # both are the 32 px face, each pixel repeated


def test_earlier_faces_go_and_other_files_stay(tmp_path):
    for count in (5, 2):
        draw_faces(make_generator(), choose(count=count), tmp_path)
        (tmp_path / "faces/grandmother.png").touch()
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["0000.png", "0001.png", "grandmother.png"]


def test_truncation_makes_faces_alike(tmp_path):
    generator = make_generator()
    spread = {}
    for truncation in (0.01, 1.0):
        draw_faces(generator, choose(count=8, truncation=truncation), tmp_path / str(truncation))
        faces = [np.asarray(Image.open(path), dtype=float) for path in (tmp_path / str(truncation) / "faces").iterdir()]
        spread[truncation] = np.std(faces, axis=0).mean()
    assert spread[0.01] < 0.1 * spread[1.0]


def test_truncation_moves_styles_where_a_generator_has_them(tmp_path):
    torch.manual_seed(0)
    parameters = StyleGAN2Parameters(name="stylegan2", width=8, latent_size=16)
    generator = build_generator(parameters, 32).eval()
    for truncation in (0.01, 1.0):
        draw_faces(generator, choose(truncation=truncation), tmp_path / str(truncation))
        assert generator.truncation == truncation
    assert (tmp_path / "1.0/grid.png").read_bytes() != (tmp_path / "0.01/grid.png").read_bytes()


def test_enlarge_repeats_pixels():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(enlarge(picture, side=2, least=5)[::3, ::3], picture)  # three times: the first whole factor to reach 5
    assert enlarge(picture, 200, 128).shape == (2, 2, 3)


def test_the_generator_that_ships_draws_ten_different_faces_in_many_colours(tmp_path):
    shipped = ROOT / "pretrained/avatars.safetensors"
    assert shipped.stat().st_size < 2_000_000
    generator, card = load_generator(shipped)
    assert card.images_seen >= 100_000
    draw_faces(generator, choose(count=10), tmp_path)
    faces = np.stack([np.asarray(Image.open(path), dtype=float) for path in sorted((tmp_path / "faces").iterdir())])
    distances = [np.abs(one - other).mean() for one, other in itertools.combinations(faces, 2)]
    assert min(distances) > 15  # of 255: no two are nearly the same
    middle, corners = faces[:, 32:96, 40:88], faces[:, :16, :16]
    assert np.abs(middle.mean((1, 2)) - corners.mean((1, 2))).max(1).min() > 10  # a face stands out from its background
    mirrored = np.abs(middle - middle[:, :, ::-1]).mean()
    shuffled = np.abs(middle - np.roll(middle, 1, axis=0)).mean()
    assert mirrored < 0.8 * shuffled  # faces are more like their own mirror images than like each other
