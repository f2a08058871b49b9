"""Verification: a generator's own pictures are recognised after common changes, and other pictures are not."""

import shutil

import numpy as np
import pytest
from PIL import Image
from projects import ROOT
from small_generators import SMALL, choose, save_small_generator, write_small

from facegan.common.errors import FaceganError
from facegan.common.marks import Mark, read_mark
from facegan.common.pictures import save_png
from facegan.models.generator_file import load_generator
from facegan.sampling import codes
from facegan.sampling.animations import draw_progress, draw_walk
from facegan.sampling.faces import draw_chosen, draw_faces
from facegan.sampling.verification import verify

SEARCH = choose(seed=3, count=40)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with two generators, and marked pictures by the shipped one."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(ROOT / "pretrained/avatars.safetensors", folder / "one.safetensors")
    save_small_generator(folder / "other.safetensors")
    generator, card = load_generator(folder / "one.safetensors")
    draw_faces(generator, choose(seed=3, count=20), folder, mark=card.mark)
    draw_chosen(generator, choose(seed=3), [12], folder / "native", pixels=1, mark=card.mark)
    draw_walk(generator, choose(), folder, mark=card.mark)
    return folder


def check(path, made, model=None, search=SEARCH):
    recognised, lines = verify(path, made / model if model else None, [made / "other.safetensors", made / "one.safetensors"], search)
    return recognised, "\n".join(lines)


def change(picture, tmp_path, name="changed.png", **options):
    """Saves a picture with Pillow, which drops the mark."""
    picture.save(tmp_path / name, **options)
    assert read_mark(tmp_path / name) is None
    return tmp_path / name


def test_every_marked_face_is_identical_to_the_one_drawn_again(made):
    for path in [*sorted((made / "faces").iterdir()), made / "native/seed3_face0012.png", made / "grid.png"]:
        recognised, text = check(path, made)
        assert recognised and "identical to those faces" in text and "one.safetensors" in text


@pytest.mark.parametrize("name", SMALL)
def test_faces_of_every_model_and_of_codes_are_identical(name, tmp_path):
    generator, card = load_generator(write_small(tmp_path / "small.safetensors", name))
    faces = ["7-1-0.8", codes.write_code(codes.draw_codes(generator, 5, 1, 1.0)[0])]
    for number, face in enumerate(faces):
        picture = codes.render(generator, codes.read_faces(generator, [face]))[0].permute(1, 2, 0).numpy()
        save_png(tmp_path / f"{number}.png", picture, card.mark.replace("face", face))
        recognised, lines = verify(tmp_path / f"{number}.png", None, [tmp_path / "small.safetensors"], SEARCH)
        assert recognised and "identical to those faces" in lines[-1]


@pytest.mark.parametrize(
    ("source", "edit", "options", "found"),
    [
        ("faces/seed3_face0012.png", lambda picture: picture, {}, "identical to 3-12-1 "),
        ("grid.png", lambda picture: picture.crop((64, 64, 128, 128)), {}, "identical to 3-9-1 "),
        ("faces/seed3_face0012.png", lambda picture: picture, {"name": "changed.jpg", "quality": 60}, "not identical: 3-12-1 "),
        ("faces/seed3_face0012.png", lambda picture: picture.resize((100, 100)), {}, "not identical: 3-12-1 "),
        ("faces/seed3_face0012.png", lambda picture: picture.crop((11, 7, 115, 99)), {}, "not identical: 3-12-1 "),
        ("grid.png", lambda picture: picture.crop((40, 40, 200, 200)), {}, "not identical: 3-9-1, 3-10-1, 3-17-1, 3-18-1 "),
    ],
)
def test_picture_without_mark_is_found_among_the_faces_of_a_seed(made, tmp_path, source, edit, options, found):
    with Image.open(made / source) as picture:
        path = change(edit(picture), tmp_path, **options)
    recognised, text = check(path, made, "one.safetensors")
    assert recognised and "no mark" in text and found in text
    assert not check(path, made, "other.safetensors")[0] and not check(path, made, "one.safetensors", choose(seed=4, count=40))[0]


def test_generator_must_be_given_or_known(made, tmp_path):
    with Image.open(made / "grid.png") as picture:
        path = change(picture, tmp_path)
    recognised, text = check(path, made)
    assert not recognised and "no mark" in text and "--model" in text
    recognised, lines = verify(made / "grid.png", None, [made / "other.safetensors"], SEARCH)
    assert not recognised and "not among those of this project" in lines[1]


def test_other_generator_is_reported(made):
    recognised, text = check(made / "faces/seed3_face0012.png", made, "other.safetensors")
    assert not recognised and "marked by another generator" in text and "not recognised" in text


def test_forged_mark_is_not_believed(made, tmp_path):
    card = load_generator(made / "one.safetensors")[1]
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for faces in (["3-12-1"], [f"3-{number}-1" for number in range(64)]):
        save_png(tmp_path / "forged.png", noise, card.mark.replace("face", *faces))
        recognised, text = check(tmp_path / "forged.png", made)
        assert not recognised and "not recognised" in text
    with Image.open(made / "faces/seed3_face0011.png") as picture:
        save_png(tmp_path / "forged.png", np.asarray(picture), card.mark.replace("face", "3-12-1"))
    assert not check(tmp_path / "forged.png", made)[0]


def test_one_changed_pixel_is_not_identical(made, tmp_path):
    with Image.open(made / "faces/seed3_face0012.png") as picture:
        picture.putpixel((5, 5), (255, 0, 255))
        recognised, text = check(change(picture, tmp_path), made, "one.safetensors")
    assert recognised and "not identical" in text


def test_pictures_that_cannot_be_drawn_again_are_compared_by_their_mark(made, tmp_path):
    card = load_generator(made / "one.safetensors")[1]
    save_png(tmp_path / "progress/0.png", np.zeros((8, 8, 3), np.uint8), card.mark.replace("progress of the training"))
    draw_progress(tmp_path / "progress", tmp_path, card.mark)
    save_png(tmp_path / "sheet.png", np.zeros((8, 8, 3), np.uint8), card.mark.replace("sheet", composite=True))
    for path in (made / "walk.webp", tmp_path / "progress.gif", tmp_path / "progress/0.png", tmp_path / "sheet.png"):
        assert check(path, made)[0] and "not drawn again" in check(path, made)[1]
        assert not check(path, made, "other.safetensors")[0]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_unreadable_file_is_reported(made, tmp_path, content):
    (tmp_path / "file.png").write_bytes(content)
    with pytest.raises(FaceganError, match="expected a PNG, WebP, JPEG or GIF picture in "):
        check(tmp_path / "file.png", made)


@pytest.mark.parametrize("faces", [("page-7",), ("~????",), ("99999999999-1-1",), ("1-1-99",)])
def test_invalid_faces_in_a_mark_are_reported(made, tmp_path, faces):
    card = load_generator(made / "one.safetensors")[1]
    save_png(tmp_path / "face.png", np.zeros((32, 32, 3), np.uint8), Mark(card.sha256, "", "face", faces))
    with pytest.raises(FaceganError, match="expected"):
        check(tmp_path / "face.png", made)
