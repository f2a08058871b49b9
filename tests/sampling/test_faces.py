"""Faces and grids: reproducible by seed and number, enlarged, truncated."""

import itertools

import numpy as np
import pytest
from PIL import Image
from projects import ROOT
from small_generators import choose, make_generator, read_all

from facegan.common.errors import FaceganError
from facegan.common.pictures import save_png
from facegan.models.generator_file import load_generator
from facegan.sampling.animations import draw_walk
from facegan.sampling.faces import draw_chosen, draw_faces


def test_seed_determines_the_faces(tmp_path):
    generator = make_generator()
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        draw_faces(generator, choose(seed, 3), tmp_path / name)
        draw_walk(generator, choose(seed, 3), tmp_path / name)
    one, again, two = (read_all(tmp_path / name) for name in ("one", "again", "two"))
    assert sorted(one) == ["faces/seed1_face0000.png", "faces/seed1_face0001.png", "faces/seed1_face0002.png", "grid.png", "walk.webp"]
    assert one == again
    assert all(one[name] != two[name.replace("seed1", "seed2")] for name in one)


def test_faces_do_not_depend_on_the_count_and_are_the_first_of_the_grid(tmp_path):
    generator = make_generator()
    draw_faces(generator, choose(count=2), tmp_path / "few")
    draw_faces(generator, choose(count=70), tmp_path / "many")
    few, many = read_all(tmp_path / "few"), read_all(tmp_path / "many")
    assert len(many) == 71
    assert all(few[name] == many[name] for name in few)
    grid = np.asarray(Image.open(tmp_path / "few/grid.png"))
    second = np.asarray(Image.open(tmp_path / "few/faces/seed0_face0001.png"))
    assert grid.shape == (8 * 64, 8 * 64, 3) and second.shape == (128, 128, 3)
    assert np.array_equal(grid[:64:2, 64:128:2], second[::4, ::4])  # both enlarge the same face of 32 px


def test_earlier_faces_are_removed_and_other_files_kept(tmp_path):
    others = {"grandmother.png", "2024.png", "seed7_face0001.jpg"}
    for name in ("seed7_face10019.png", "seed7_face0000.png", *others):
        save_png(tmp_path / "faces" / name, np.zeros((4, 4, 3), np.uint8))
    draw_faces(make_generator(), choose(count=2), tmp_path)
    assert set(read_all(tmp_path / "faces")) == others | {"seed0_face0000.png", "seed0_face0001.png"}


def test_seed_and_number_determine_a_face(tmp_path):
    generator = make_generator()  # 70 faces of 20 numbers: the last batch and the last block of random numbers are incomplete
    draw_faces(generator, choose(seed=3, count=70), tmp_path)
    for numbers in ([69, 12], [12], [69], [3, 69]):
        folder = tmp_path / "-".join(map(str, numbers))
        files = draw_chosen(generator, choose(seed=3), numbers, folder)
        assert [path.name for path in files] == [f"seed3_face{number:04d}.png" for number in sorted(numbers)]
        assert all(path.read_bytes() == (tmp_path / "faces" / path.name).read_bytes() for path in files)


def test_chosen_faces_are_added_to_the_folder(tmp_path):
    for numbers in ([1], [2, 2]):
        draw_chosen(make_generator(), choose(), numbers, tmp_path)
    assert sorted(read_all(tmp_path)) == ["seed0_face0001.png", "seed0_face0002.png"]


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_invalid_face_number_is_reported(tmp_path, number):
    with pytest.raises(FaceganError, match=rf"expected face numbers from 0 to 999,999; found {number:,};"):
        draw_chosen(make_generator(), choose(), [3, number], tmp_path)


@pytest.mark.parametrize(("pixels", "side"), [(1, 32), (32, 32), (33, 64), (512, 512)])
def test_enlarged_face_repeats_pixels(tmp_path, pixels, side):
    (path,) = draw_chosen(make_generator(), choose(), [5], tmp_path, pixels)
    (native,) = draw_chosen(make_generator(), choose(), [5], tmp_path / "native", 1)
    face, small = (np.asarray(Image.open(file)) for file in (path, native))
    assert face.shape == (side, side, 3) and small.shape == (32, 32, 3)
    assert np.array_equal(face, small.repeat(side // 32, 0).repeat(side // 32, 1))


def test_truncation_makes_faces_similar(tmp_path):
    spread = {}
    for truncation in (0.01, 1.0):
        draw_faces(make_generator(), choose(count=8, truncation=truncation), tmp_path / str(truncation))
        faces = [np.asarray(Image.open(path), dtype=float) for path in (tmp_path / str(truncation) / "faces").iterdir()]
        spread[truncation] = np.std(faces, axis=0).mean()
    assert spread[0.01] < 0.1 * spread[1.0]


def test_pretrained_generator_draws_ten_different_faces(tmp_path):
    shipped = ROOT / "pretrained/avatars.safetensors"
    assert shipped.stat().st_size < 2_000_000
    generator, _ = load_generator(shipped)
    draw_faces(generator, choose(count=10), tmp_path)
    faces = np.stack([np.asarray(Image.open(path), dtype=float) for path in sorted((tmp_path / "faces").iterdir())])
    distances = [np.abs(one - other).mean() for one, other in itertools.combinations(faces, 2)]
    assert min(distances) > 15  # of 255
