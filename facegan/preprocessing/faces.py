"""The faces in a photo, straightened and scaled to one template, and cut out.

In: a photo. Out: a square picture of each face in it, eyes level and always in the same place. A square in the photo is laid on each
face by its landmarks: turned as the eyes are, as large as eyes and mouth say, which are where the template has them. Then it is
cut out of the photo at the resolution, in two steps: shrunk by whole numbers, then turned and resized with antialiasing.

The square stays inside the photo. Where the template leaves it, the framing tightens about the face as far as it must. A face for
which that is too tight is left out, as is one too small; nothing is ever padded: a network learns the padding. Points are complex
numbers, x + iy; a similarity transform is then a multiplication and an addition.
"""

import dataclasses

import numpy as np
from PIL import Image

from facegan.preprocessing import onet
from facegan.preprocessing.detector import YUNET, Detection, detect_faces, locate_landmarks
from facegan.preprocessing.images import FILTERS, OVERSAMPLING, Photo, to_array
from facegan.preprocessing.parameters import PreprocessParameters

DETECTION_PIXELS = 640  # the photo's longer side as the detector sees it
FEWEST_PIXELS = 16  # of the shorter one: what is narrower is no photo of a face
MIN_PROBABILITY = 0.7  # O-Net's; takes 4 of 5 false alarms among drawings, and none of 750 photographed faces
LOOKS = 2  # at the landmarks: the second look, at the straightened face, is right to half a degree
SHARE_PIXELS, SHARE_FRAME = 160, 32  # how `shows_face` shows a picture to the detector
SHARE_SCORE, SHARE_PROBABILITY = 0.8, 0.97  # how sure that must be: a cut through generated faces, good and bad, that leaves real ones
TIGHTEST_EYES = 1 / 3  # how far apart the eyes may come, as a share of the square's side, where the framing tightens

# Left eye, right eye and the middle of the mouth, as shares of the square's side.
TEMPLATES = {
    # The centre crop (0, 20, 178, 198) of CelebA's aligned pictures.
    "celeba": np.array([0.391 + 0.516j, 0.612 + 0.516j, 0.500 + 0.742j]),
    # The square has four times the eyes' distance as its side, and its centre a tenth of the way from the eyes to the mouth (Karras et al. 2019).
    "ffhq": np.array([0.375 + 0.474j, 0.625 + 0.474j, 0.500 + 0.731j]),
}
ONET_TEMPLATE = np.array([0.325 + 0.385j, 0.690 + 0.385j, 0.505 + 0.758j])  # a face as O-Net was trained to see it


@dataclasses.dataclass(frozen=True)
class Square:
    """A turned square in a picture. What lies at u + iv of it, in [0, 1] of its sides, lies at corner + across · (u + iv) in the picture.

    Attributes:
        corner: the upper left one, in pixels.
        across: the upper edge, from left to right, in pixels.
    """

    corner: complex
    across: complex

    @property
    def side(self) -> float:
        """Its length in pixels."""
        return abs(self.across)

    @property
    def corners(self) -> np.ndarray:
        """The four, clockwise from the upper left: complex (4,)."""
        return self.place(np.array([0, 1, 1 + 1j, 1j]))

    def place(self, points: np.ndarray) -> np.ndarray:
        """Returns points of the square, in [0, 1] of its sides, in the picture's pixels."""
        return self.corner + self.across * points

    def scale(self, factor: float, centre: complex = 0) -> "Square":
        """Returns the square, enlarged or shrunk about a point of the picture."""
        return Square(centre + factor * (self.corner - centre), factor * self.across)


@dataclasses.dataclass(frozen=True)
class Face:
    """A face in a photo.

    Attributes:
        square: what is cut out, in the pixels of the whole upright photo.
        tightening: how much smaller that is than the template asks for: 1, or less where the photo's edge is near.
        size: the longer side of the face itself, in the photo's pixels.
        reason: why it is left out, or None.
    """

    square: Square
    tightening: float
    size: float
    reason: str | None


def read_faces(photo: Photo, parameters: PreprocessParameters) -> tuple[list[np.ndarray], list[str]]:
    """Returns the pictures of a photo's faces, uint8 (3, resolution, resolution), and why others were left out.

    With ``faces: all`` from left to right; with ``largest`` one, or none and the reason.

    Raises:
        UnreadablePicture: a damaged photo.
    """
    image, shrink = decode_for_detection(photo)
    found = find_faces(photo, image, shrink, parameters)
    chosen, reasons = choose_faces(found, parameters)
    if chosen:
        finer = photo.choose_shrink(min(face.square.side for face in chosen) / (OVERSAMPLING * parameters.resolution))
        if finer < shrink:
            image, shrink = photo.decode(finer), finer
    size, resampling = parameters.resolution, FILTERS[parameters.filter]
    return [to_array(cut_square(image, face.square.scale(1 / shrink), size, resampling)) for face in chosen], reasons


def choose_faces(found: list[Face], parameters: PreprocessParameters) -> tuple[list[Face], list[str]]:
    """Returns the faces to cut out and the reasons why others are not."""
    if not found:
        return [], ["no face found"]
    usable = [face for face in found if face.reason is None]
    if parameters.faces == "all":
        usable.sort(key=lambda face: face.square.place(0.5 + 0.5j).real)
        return usable, [face.reason for face in found if face.reason]
    return usable[:1], [] if usable else [found[0].reason]


def decode_for_detection(photo: Photo) -> tuple[Image.Image, int]:
    """Returns the photo, small if it is a JPEG and yet no smaller than the detector wants it, and by how much it was shrunk."""
    shrink = photo.choose_shrink(max(photo.size) / DETECTION_PIXELS)
    return photo.decode(shrink), shrink


def find_faces(photo: Photo, image: Image.Image, shrink: int, parameters: PreprocessParameters) -> list[Face]:
    """Returns the faces in a photo, the largest first.

    Args:
        image, shrink: the photo as ``decode_for_detection`` returns it.
    """
    faces = []
    for detection, landmarks in find_landmarks(image):
        wanted = fit_square(landmarks * shrink, frame_template(parameters))
        centre = wanted.place(TEMPLATES[parameters.template].mean())
        tightening = tighten(wanted, centre, photo.size)
        square = wanted.scale(tightening, centre)
        eyes = abs(landmarks[1] - landmarks[0]) * shrink
        reason = None
        if square.side == 0 or eyes / square.side > TIGHTEST_EYES:
            reason = "its face lies too near the photo's edge"
        elif square.side < parameters.min_face_pixels:
            reason = f"its face is too small: {square.side:.0f} pixels to cut out; preprocess.min_face_pixels asks for {parameters.min_face_pixels}"
        faces.append(Face(square, tightening, detection.size * shrink, reason))
    return sorted(faces, key=lambda face: -face.size)


def find_landmarks(image: Image.Image, min_probability: float = MIN_PROBABILITY) -> list[tuple[Detection, np.ndarray]]:
    """Returns the faces in an RGB picture and the landmarks of each: complex (5,), in its pixels.

    Args:
        min_probability: how sure O-Net must be that it sees a face.
    """
    factor = min(1, DETECTION_PIXELS / max(image.size))
    width, height = round(image.width * factor), round(image.height * factor)
    if min(width, height) < FEWEST_PIXELS:
        return []
    small = image if factor == 1 else image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    found = []
    for detection in detect_faces(small):
        box = tuple(edge / factor for edge in detection.box)
        landmarks = detection.points / factor
        for _ in range(LOOKS):
            square = fit_square(landmarks, ONET_TEMPLATE)
            seen, probability = locate_landmarks(cut_square(image, square, onet.PIXELS, Image.Resampling.BILINEAR, oversampling=1))
            landmarks = square.place(seen)
        if probability >= min_probability:
            found.append((dataclasses.replace(detection, box=box), landmarks))
    return found


def frame_template(parameters: PreprocessParameters) -> np.ndarray:
    """Returns the template with its margin: eyes and mouth as shares of the wider square's side, complex (3,)."""
    return (TEMPLATES[parameters.template] + parameters.margin * (1 + 1j)) / (1 + 2 * parameters.margin)


def fit_square(landmarks: np.ndarray, template: np.ndarray) -> Square:
    """Returns the square in which a face lies as a template says.

    It is turned as the eyes are; size and place fit both eyes and the middle of the mouth best, by least squares.

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
    """Returns the largest factor up to 1 by which a square, shrunk about a centre, lies within a picture of ``size``; 0 where none does."""
    width, height = size
    if not (0 < centre.real < width and 0 < centre.imag < height):
        return 0.0
    factor = 1.0
    for way in square.corners - centre:
        for room_before, room_after, step in ((centre.real, width - centre.real, way.real), (centre.imag, height - centre.imag, way.imag)):
            if step:
                factor = min(factor, (room_after if step > 0 else room_before) / abs(step))
    return factor


def cut_square(
    image: Image.Image, square: Square, size: int, resampling: Image.Resampling, oversampling: int = OVERSAMPLING
) -> Image.Image:
    """Returns what an RGB picture shows in a square, as a picture of ``size`` × ``size``, black where the square leaves it.

    Shrinking goes by the mean of whole blocks down to ``oversampling`` pixels or more, in a row, for each of the result; then the
    square is turned with its pixels' size kept; then resized.
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
    turned = region.transform((inner, inner), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    return turned if inner == size else turned.resize((size, size), resampling)


def describe_crop(parameters: PreprocessParameters) -> str | tuple[int, int, int, int]:
    """Returns the crop as the index tells it: for faces with all that decides what is cut out, the networks that find them included."""
    if parameters.crop != "face":
        return parameters.crop
    return (
        f"face: {parameters.template}, margin {parameters.margin:g}, {parameters.faces}, from {parameters.min_face_pixels} pixels up, "
        f"found by YuNet {YUNET[1][:8]} and O-Net {onet.SHA256[:8]}"
    )


def measure_face_share(photo: Photo) -> float | None:
    """Returns the longer side of the largest face over the side of the largest centred square, or None where no face is found.

    Raises:
        UnreadablePicture: a damaged photo.
    """
    image, _ = decode_for_detection(photo)
    sizes = [detection.size for detection, _ in find_landmarks(image)]
    return max(sizes) / min(image.size) if sizes else None


def shows_face(picture: np.ndarray) -> bool:
    """Returns whether a face is found in a picture, surely: for a number beside the scores, which have no idea of faces.

    The picture is enlarged and framed in grey, since a face that fills it to the edge is otherwise found less surely. The detector must
    be surer than for photos: it is used to badly lit faces, not to muddled ones.

    Args:
        picture: uint8 (3, H, W), in RGB, of 32 pixels a side or more.
    """
    image = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
    framed = Image.new("RGB", (SHARE_PIXELS + 2 * SHARE_FRAME, SHARE_PIXELS + 2 * SHARE_FRAME), (128, 128, 128))
    framed.paste(image.resize((SHARE_PIXELS, SHARE_PIXELS), Image.Resampling.BICUBIC), (SHARE_FRAME, SHARE_FRAME))
    return any(detection.score >= SHARE_SCORE for detection, _ in find_landmarks(framed, SHARE_PROBABILITY))
