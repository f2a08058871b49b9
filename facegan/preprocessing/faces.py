"""Finds the faces in a photo, aligns them to a template and cuts them out.

In: a photo. Out: a square image of each face, with the eyes level and always at the same position. A square is fitted to the landmarks of
each face: rotated like the line between the eyes, scaled so that eyes and mouth match the template. It is cut out in two steps: the
photo is downscaled by an integer, then rotated and resized with antialiasing.

Photos that were scanned or saved upside down, or on a side, are turned: where no face is detected with certainty, the detector also looks
at the photo in the three other directions.

The square stays inside the photo: where the template exceeds it, the square shrinks around the face. Faces that would become too tight
are skipped, and so are small ones. A face in the background does not replace the largest one if that is skipped. There is no padding,
because the generator would learn it. Points are complex numbers, x + iy, so
that a similarity transform is a multiplication and an addition.
"""

import dataclasses
from typing import TypeVar

import numpy as np
from PIL import Image

from facegan.preprocessing import onet
from facegan.preprocessing.detector import YUNET, Detection, detect_faces, locate_landmarks
from facegan.preprocessing.images import FILTERS, OVERSAMPLING, QUARTERS, Photo, to_array
from facegan.preprocessing.parameters import Box, PreprocessParameters

DETECTION_PIXELS = 640  # maximum side of the image in which faces are detected
MIN_DETECTION_PIXELS = 16  # minimum side of that image
MIN_PROBABILITY = 0.7  # of O-Net; rejects 4 of 5 false detections in drawings, and none of 750 photographed faces
PASSES = 2  # of O-Net; the second, on the aligned face, is accurate to half a degree
SHARE_PIXELS, SHARE_FRAME = 160, 32  # size and frame of the image in `shows_face`
SHARE_SCORE, SHARE_PROBABILITY = (
    0.8,
    0.97,
)  # minimum scores in `shows_face`: separate good generated faces from bad ones, and keep real ones
# YuNet's scores of portraits are 0.93 to 0.96 upright, and at most 0.89 upside down or on a side; O-Net's probability is then up to 1.
SURE_SCORE, SURE_PROBABILITY = 0.9, 0.97
BACKGROUND = 0.5  # of the largest face's size; smaller faces do not replace it

# Left eye, right eye and the middle of the mouth, as shares of the square's side.
TEMPLATES = {
    # The centre crop (0, 20, 178, 198) of CelebA's aligned images.
    "celeba": np.array([0.391 + 0.516j, 0.612 + 0.516j, 0.500 + 0.742j]),
    # Karras et al. 2019: the side is four times the eyes' distance; the centre is a tenth of the way from the eyes to the mouth.
    "ffhq": np.array([0.375 + 0.474j, 0.625 + 0.474j, 0.500 + 0.731j]),
}
ONET_TEMPLATE = np.array([0.325 + 0.385j, 0.690 + 0.385j, 0.505 + 0.758j])  # of the faces that O-Net was trained on

NO_FACE, TOO_TIGHT, TOO_SMALL = "no face found", "its face is too close to the photo's edge", "its face is too small"
REMEDIES = {
    NO_FACE: "preprocess.crop: square keeps these photos",
    TOO_TIGHT: "preprocess.min_eye_distances: 2 accepts tighter crops, and preprocess.crop: square keeps these photos",
    TOO_SMALL: "a smaller preprocess.min_face_pixels accepts them",
}

Points = TypeVar("Points", complex, np.ndarray)


@dataclasses.dataclass(frozen=True)
class Square:
    """A rotated square in an image. Its point u + iv, in [0, 1] of its sides, is the image's point corner + across · (u + iv).

    Attributes:
        corner: the upper left corner, in pixels.
        across: the upper edge, from left to right, in pixels.
    """

    corner: complex
    across: complex

    @property
    def side(self) -> float:
        """The length of a side in pixels."""
        return abs(self.across)

    @property
    def corners(self) -> np.ndarray:
        """The four corners, clockwise from the upper left: complex (4,)."""
        return self.place(np.array([0, 1, 1 + 1j, 1j]))

    def place(self, points: Points) -> Points:
        """Returns points of the square, in [0, 1] of its sides, in pixels of the image."""
        return self.corner + self.across * points

    def scale(self, factor: float, centre: complex = 0) -> "Square":
        """Returns the square, scaled around a point of the image."""
        return Square(centre + factor * (self.corner - centre), factor * self.across)


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        square: the square to cut out, in pixels of the upright photo at full size.
        size: the longer side of the detected box, in pixels of the photo.
        reason: why the face is skipped, or None.
    """

    square: Square
    size: float
    reason: str | None


def read_faces(photo: Photo, parameters: PreprocessParameters) -> tuple[list[np.ndarray], list[str]]:
    """Returns images of a photo's faces, uint8 (3, resolution, resolution), and the reasons why others were skipped.

    With ``faces: all``, from left to right; with ``largest``, one image, or none and the reason.

    Raises:
        UnreadablePicture: the photo is damaged.
    """
    image, shrink, found = find_faces(photo, parameters)
    chosen, reasons = choose_faces(found, parameters)
    if chosen:
        finer = photo.choose_shrink(min(face.square.side for face in chosen) / (OVERSAMPLING * parameters.resolution))
        if finer < shrink:
            image, shrink = photo.decode(finer), finer
    size, resampling = parameters.resolution, FILTERS[parameters.filter]
    squares = [cut_square(image, face.square.scale(1 / shrink), size, resampling) for face in chosen]
    return [to_array(photo.to_srgb(square)) for square in squares], reasons


def choose_faces(found: list[Face], parameters: PreprocessParameters) -> tuple[list[Face], list[str]]:
    """Returns the faces to cut out, and the reasons why others are skipped."""
    if not found:
        return [], [NO_FACE]
    usable, reasons = [face for face in found if face.reason is None], [face.reason for face in found if face.reason]
    if parameters.faces == "all":
        return sorted(usable, key=lambda face: (face.square.corner + face.square.across * (0.5 + 0.5j)).real), reasons
    usable = [face for face in usable if face.size >= BACKGROUND * found[0].size]
    return usable[:1], [] if usable else reasons[:1]


def decode_for_detection(photo: Photo) -> tuple[Image.Image, int]:
    """Returns the photo, a JPEG downscaled to no less than the detector's size, and the divisor of its height and width."""
    shrink = photo.choose_shrink(max(photo.size) / DETECTION_PIXELS)
    return photo.decode(shrink), shrink


def find_faces(photo: Photo, parameters: PreprocessParameters) -> tuple[Image.Image, int, list[Face]]:
    """Returns the result of ``decode_for_detection`` and the faces in a photo, the largest first. Turns the photo upright.

    Raises:
        UnreadablePicture: the photo is damaged.
    """
    image, shrink = decode_for_detection(photo)
    quarters, found = find_direction(image)
    if quarters:
        photo.turn(quarters)
        image = image.transpose(QUARTERS[quarters - 1])
    faces = []
    for detection, landmarks in found:
        template = fit_square(landmarks * shrink, frame_template(parameters))
        centre = template.place(TEMPLATES[parameters.template].mean())
        square = template.scale(tighten(template, centre, photo.size), centre)
        eyes = abs(landmarks[1] - landmarks[0]) * shrink
        reason = None
        if square.side == 0 or square.side < parameters.min_eye_distances * eyes:
            reason = TOO_TIGHT
        elif square.side < parameters.min_face_pixels:
            reason = f"{TOO_SMALL}: {square.side:.0f} pixels to cut out"
        faces.append(Face(square, detection.size * shrink, reason))
    return image, shrink, sorted(faces, key=lambda face: -face.size)


def find_direction(image: Image.Image) -> tuple[int, list[tuple[Detection, np.ndarray]]]:
    """Returns by how many quarters to turn an image counterclockwise, and the result of ``find_landmarks`` in the turned image."""
    found = find_landmarks(image)
    best = max((detection.score for detection, _ in found), default=0.0)
    quarters = 0
    if best < SURE_SCORE:
        for number, quarter in enumerate(QUARTERS, start=1):
            others = find_landmarks(image.transpose(quarter), SURE_PROBABILITY)
            score = max((detection.score for detection, _ in others), default=0.0)
            if score >= max(SURE_SCORE, best):
                quarters, found, best = number, others, score
    return quarters, found


def find_landmarks(image: Image.Image, min_probability: float = MIN_PROBABILITY) -> list[tuple[Detection, np.ndarray]]:
    """Returns the faces in an RGB image and the landmarks of each: complex (5,), in its pixels.

    Args:
        min_probability: the minimum probability of a face according to O-Net.
    """
    factor = min(1, DETECTION_PIXELS / max(image.size))
    width, height = round(image.width * factor), round(image.height * factor)
    if min(width, height) < MIN_DETECTION_PIXELS:
        return []
    small = image if factor == 1 else image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    found = []
    for detection in detect_faces(small):
        landmarks = detection.points / factor
        for _ in range(PASSES):
            square = fit_square(landmarks, ONET_TEMPLATE)
            face = cut_square(image, square, onet.PIXELS, Image.Resampling.BILINEAR, oversampling=1)
            predicted, probability = locate_landmarks(face)
            landmarks = square.place(predicted)
        if probability >= min_probability:
            found.append((dataclasses.replace(detection, box=tuple(edge / factor for edge in detection.box)), landmarks))
    return found


def frame_template(parameters: PreprocessParameters) -> np.ndarray:
    """Returns the template with its margin: eyes and mouth as shares of the larger square's side, complex (3,)."""
    return (TEMPLATES[parameters.template] + parameters.margin * (1 + 1j)) / (1 + 2 * parameters.margin)


def fit_square(landmarks: np.ndarray, template: np.ndarray) -> Square:
    """Returns the square in which a face matches a template.

    It is rotated like the line between the eyes. Size and position are a least-squares fit of both eyes and the middle of the mouth.

    Args:
        landmarks: complex (5,), in pixels.
        template: complex (3,), in [0, 1] of the square's sides.
    """
    points = np.array([landmarks[0], landmarks[1], (landmarks[3] + landmarks[4]) / 2])
    eyes = points[1] - points[0]
    direction = eyes / abs(eyes) if eyes else 1
    from_mean, template_from_mean = (points - points.mean()) / direction, template - template.mean()
    side = max(0.0, float((template_from_mean.conj() * from_mean).real.sum() / (abs(template_from_mean) ** 2).sum()))
    across = side * direction
    return Square(points.mean() - across * template.mean(), across)


def tighten(square: Square, centre: complex, size: tuple[int, int]) -> float:
    """Returns the largest factor up to 1 by which a square, scaled around a centre, fits into an image of ``size``; 0 if none does."""
    width, height = size
    if not (0 < centre.real < width and 0 < centre.imag < height):
        return 0.0
    factor = 1.0
    for offset in square.corners - centre:
        for room_before, room_after, step in (
            (centre.real, width - centre.real, offset.real),
            (centre.imag, height - centre.imag, offset.imag),
        ):
            if step:
                factor = min(factor, (room_after if step > 0 else room_before) / abs(step))
    return factor


def cut_square(
    image: Image.Image, square: Square, size: int, resampling: Image.Resampling, oversampling: int = OVERSAMPLING
) -> Image.Image:
    """Returns the content of a square in an RGB image, as an image of ``size`` × ``size``, black outside the original.

    The original is downscaled by block means to ``oversampling`` or more pixels, in each direction, for each of the result; then rotated
    at that size; then resized.
    """
    corners = square.corners
    left, right = max(0, int(corners.real.min()) - 2), min(image.width, int(corners.real.max()) + 3)
    top, bottom = max(0, int(corners.imag.min()) - 2), min(image.height, int(corners.imag.max()) + 3)
    if left >= right or top >= bottom or not square.side:
        return Image.new("RGB", (size, size))
    region = image.crop((left, top, right, bottom))
    factor = max(1, int(square.side / (oversampling * size)))
    if factor > 1:
        region = region.reduce(factor)
    inner = max(size, round(square.side / factor))
    step = square.across / factor / inner
    corner = (square.corner - complex(left, top)) / factor
    affine = (step.real, -step.imag, corner.real, step.imag, step.real, corner.imag)
    rotated = region.transform((inner, inner), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return rotated if inner == size else rotated.resize((size, size), resampling)


def describe_crop(parameters: PreprocessParameters) -> str | Box:
    """Returns the crop for the index. For faces, it contains everything that determines the result, including the networks' hashes."""
    if parameters.crop != "face":
        return parameters.crop
    tight = "" if parameters.min_eye_distances == 3 else f"from {parameters.min_eye_distances:g} eye distances up, "
    return (  # the same text as before there was min_eye_distances, if that is 3
        f"face: {parameters.template}, margin {parameters.margin:g}, {parameters.faces}, from {parameters.min_face_pixels} pixels up, "
        f"{tight}found by YuNet {YUNET[1][:8]} and O-Net {onet.SHA256[:8]}"
    )


def measure_face_share(photo: Photo) -> float | None:
    """Returns the longer side of the largest face over the side of the largest centred square, or None if no face is found.

    Raises:
        UnreadablePicture: the photo is damaged.
    """
    image, _ = decode_for_detection(photo)
    sizes = [detection.size for detection, _ in find_landmarks(image)]
    return max(sizes) / min(image.size) if sizes else None


def shows_face(picture: np.ndarray) -> bool:
    """Returns whether an image clearly shows a face. Complements the scores, which cannot tell whether an image contains a face.

    The image is enlarged and framed in grey, because a face that fills an image is detected less reliably. The minimum scores are higher
    than for photos, because the detector accepts badly lit faces, and therefore also distorted ones.

    Args:
        picture: uint8 (3, H, W), in RGB, at least 32 × 32 pixels.
    """
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    framed = Image.new("RGB", (SHARE_PIXELS + 2 * SHARE_FRAME, SHARE_PIXELS + 2 * SHARE_FRAME), (128, 128, 128))
    framed.paste(image.resize((SHARE_PIXELS, SHARE_PIXELS), Image.Resampling.BICUBIC), (SHARE_FRAME, SHARE_FRAME))
    return any(detection.score >= SHARE_SCORE for detection, _ in find_landmarks(framed, SHARE_PROBABILITY))
