"""``facegan.load`` draws the same faces as the stage."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from projects import ROOT
from small_generators import choose, make_generator, save_small_generator

import facegan
from facegan.common.errors import FaceganError
from facegan.common.marks import read_mark
from facegan.sampling.faces import draw_faces


@pytest.fixture
def generator(tmp_path):
    save_small_generator(tmp_path / "generator.safetensors")
    return facegan.load(tmp_path / "generator.safetensors")


@pytest.mark.parametrize("count", [1, 10, 17])
def test_faces_are_those_of_the_stage(generator, tmp_path, count):
    draw_faces(make_generator(), choose(seed=1, count=20), tmp_path, pixels=1)
    faces = generator.faces(seed=1, count=count)
    assert len(faces) == count and generator.card.images_seen == 1000
    for number, face in enumerate(faces):
        assert np.array_equal(face, Image.open(tmp_path / f"faces/seed1_face{number:04d}.png"))


def test_saved_face_is_marked_even_after_changes(generator, tmp_path):
    face = generator.faces(seed=1, count=3)[2]
    for name, picture in (("face.png", face), ("face.jpg", face.resize((100, 100))), ("face.webp", face.crop((1, 1, 20, 20)))):
        facegan.save(picture, tmp_path / name)
        assert read_mark(tmp_path / name) == generator.card.mark.replace("face", "1-2-1")
    with pytest.raises(FaceganError, match=r"expected a path that ends in one of .*; found face\.bmp"):
        facegan.save(face, tmp_path / "face.bmp")
    with pytest.raises(FaceganError, match="found a picture without a mark"):
        facegan.save(Image.new("RGB", (8, 8)), tmp_path / "photo.png")


def test_invalid_count_is_reported(generator):
    with pytest.raises(FaceganError, match=r"count: expected .* found 0"):
        generator.faces(count=0)


def test_importing_facegan_imports_no_heavy_package():
    code = "import sys, facegan; sys.exit(bool({'torch', 'numpy', 'PIL', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0
