"""Codes: the input of a generator's synthesis network for a face, and a short text form of a face.

A code is (S, L). For a generator with styles (StyleGAN2), it contains one style per layer, after truncation. For every other generator, S
is 1 and the only row is the latent, with its label. All edits in the studio are edits of codes.

The text form is either ``seed-number-truncation`` (``7-12-0.8``: face 12 of seed 7), which denotes the same latent for every generator,
optionally with labels (``7-12-0.8+glasses=yes``; other labels are drawn), or ``~`` followed by the bytes of the code (float16, URL-safe
base64), which is valid only for generators of the same shape.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TypeGuard
from urllib.parse import quote, unquote

import numpy as np
import torch
from torch import Tensor

from facegan.common.devices import reproducible
from facegan.common.errors import FaceganError
from facegan.common.labels import check, decode, replace
from facegan.common.pictures import to_bytes
from facegan.models import stylegan2
from facegan.models.latents import ANY_LABEL, Given, seeded_latents, truncate
from facegan.models.network import GeneratorNetwork

MOST_FACES = 256  # per seed
HIGHEST_SEED = 2**32 - 1
FACES_AT_ONCE = 16  # fixed: another batch size can round differently, and torch draws normal numbers in blocks of 16
SEEDED = re.compile(r"(\d{1,10})-(\d{1,3})-(\d(?:\.\d{1,2})?)((?:\+[^+=\s]{1,300}=[^+=\s]{1,300})*)", re.ASCII)
EXPECTED = "expected a face such as 7-12-0.8 (seed, number, truncation)"


def has_styles(generator: GeneratorNetwork) -> TypeGuard[stylegan2.Generator]:
    """Returns whether each of the generator's layers has its own style."""
    return isinstance(generator, stylegan2.Generator)


def count_rows(generator: GeneratorNetwork) -> int:
    """Returns S: the number of rows of the generator's codes."""
    return len(generator.layers) + 1 if has_styles(generator) else 1


def count_columns(generator: GeneratorNetwork) -> int:
    """Returns L: the length of a row of the generator's codes."""
    return generator.latent_size if has_styles(generator) else generator.input_size


@torch.inference_mode()
def encode(generator: GeneratorNetwork, latents: Tensor, truncation: float) -> Tensor:
    """Returns codes (N, S, L) of latents (N, input_size)."""
    latents = truncate(generator, latents, truncation)
    if has_styles(generator):
        return generator.choose_styles(latents).transpose(0, 1).contiguous()
    return latents[:, None]


def synthesize(generator: GeneratorNetwork, codes: Tensor) -> Tensor:
    """Returns images (N, 3, H, W), nominally in [-1, 1], of codes (N, S, L). Differentiable."""
    if has_styles(generator):
        return generator.synthesize(codes.transpose(0, 1))
    return generator(codes[:, 0])


@torch.inference_mode()
def render(generator: GeneratorNetwork, codes: Tensor) -> Tensor:
    """Returns the uint8 images (N, 3, H, W) of codes (N, S, L), on the generator's device: the same every time."""
    with reproducible():
        return to_bytes(synthesize(generator, codes.to(device_of(generator))))


def draw_codes(generator: GeneratorNetwork, seed: int, count: int, truncation: float, given: Given = ANY_LABEL) -> Tensor:
    """Returns the codes (count, S, L) of a seed's first faces. They are bit-identical for every ``count``.

    Args:
        given: positions of label values by column; other labels are drawn with their frequency in the training data.
    """
    latents = seeded_latents(generator, MOST_FACES, seed, given)  # always all of them: another batch size can round differently
    return encode(generator, latents.to(device_of(generator)), truncation)[:count]


def device_of(generator: GeneratorNetwork) -> torch.device:
    """Returns the device of the generator's weights."""
    return next(generator.parameters()).device


def name_faces(seed: int, count: int, truncation: float, labels: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """Returns the text forms of a seed's first faces."""
    names = [f"{seed}-{index}-{truncation:.2f}".rstrip("0").rstrip(".") for index in range(count)]
    return [name + write_labels(labels) for name in names]


def write_labels(labels: Mapping[str, str]) -> str:
    """Returns the end of a face's text form."""
    return "".join(f"+{quote(column, safe='')}={quote(value, safe='')}" for column, value in labels.items())


def split_face(face: str) -> tuple[str, dict[str, str]]:
    """Returns ``seed-number-truncation`` and the labels of a text form such as ``7-12-0.8+glasses=yes``."""
    name, *pairs = face.split("+")
    return name, {unquote(column): unquote(value) for column, _, value in (pair.partition("=") for pair in pairs)}


def write_code(code: Tensor) -> str:
    """Returns a code (S, L) as text. Identical rows are written once."""
    rows = code.detach().cpu()
    rows = rows[:1] if bool((rows == rows[:1]).all()) else rows
    return "~" + base64.urlsafe_b64encode(rows.numpy().astype("<f2").tobytes()).decode().rstrip("=")


def read_faces(generator: GeneratorNetwork, faces: Sequence[str]) -> Tensor:
    """Returns the codes (N, S, L) of faces in text form. Raises FaceganError for an invalid text or another generator's shape."""
    return torch.cat([read_code(generator, face) if face.startswith("~") else read_seeded(generator, face) for face in faces])


def read_seeded(generator: GeneratorNetwork, face: str) -> Tensor:
    """Returns the code (1, S, L) of a face in the form ``seed-number-truncation``, with or without labels."""
    match = SEEDED.fullmatch(face)
    if not match:
        raise FaceganError(f"{EXPECTED}; found {face[:40]!r}; choose a face from the wall")
    seed, index, truncation = int(match[1]), int(match[2]), float(match[3])
    if seed > HIGHEST_SEED or index >= MOST_FACES or not 0 < truncation <= 2:
        bounds = f"a seed up to {HIGHEST_SEED}, a number below {MOST_FACES}, a truncation from 0.01 to 2"
        raise FaceganError(f"{EXPECTED}, {bounds}; found {face!r}; choose another face")
    return draw_codes(generator, seed, index + 1, truncation, check(split_face(face)[1], generator.labels.columns))[index:]


def read_code(generator: GeneratorNetwork, face: str) -> Tensor:
    """Returns the code (1, S, L) of a face in the form ``~`` and its bytes."""
    rows, size = count_rows(generator), count_columns(generator)
    try:
        values = np.frombuffer(base64.b64decode(face[1:] + "=" * (-len(face[1:]) % 4), altchars=b"-_", validate=True), "<f2")
    except (binascii.Error, ValueError):
        raise FaceganError(f"expected a face in the studio's text form; found {face[:20]!r}…; choose the face again") from None
    if len(values) not in (size, rows * size):
        found = f"{len(values)} numbers"
        raise FaceganError(f"expected a face of this generator ({rows} × {size} numbers); found one of {found}; choose another face")
    if not np.isfinite(values).all():
        raise FaceganError("expected a face with finite numbers; found NaN or infinity; choose another face")
    code = torch.from_numpy(values.astype(np.float32)).reshape(-1, size).expand(rows, size)
    return code[None].to(device_of(generator))


def relabel(generator: GeneratorNetwork, face: str, changes: Sequence[Given]) -> list[str]:
    """Returns a face in text form once for each change of its labels, which keeps all others; empty if its labels are unknown.

    Args:
        changes: positions of values by column.
    """
    size, columns = generator.latent_size, generator.labels.columns
    if face.startswith("~"):
        if has_styles(generator):  # in a style, the part that comes from labels is unknown
            return []
        code = read_code(generator, face)[0]  # (1, L)
        return [write_code(torch.cat([code[:, :size], replace(code[:, size:], columns, change)], 1)) for change in changes]
    read_seeded(generator, face)  # raises FaceganError for an invalid face
    name, given = split_face(face)
    seed, number, _ = name.split("-")
    latents = seeded_latents(generator, MOST_FACES, int(seed), check(given, columns))[int(number)]
    (labels,) = decode(latents[None, size:], columns)
    values = {column.name: column.values for column in columns}
    changed = [labels | {name: values[name][position] for name, position in change.items()} for change in changes]
    return [name + write_labels(labels) for labels in changed]


def blend(generator: GeneratorNetwork, codes: Tensor, weights: Tensor) -> Tensor:
    """Returns codes (M, S, L) between codes (N, S, L), with non-negative weights (M, N).

    Normally distributed latents are rescaled to the weighted mean of their lengths, like in spherical interpolation: their plain mean
    would be too short to be likely. Styles, labels and uniformly distributed latents are blended linearly.
    """
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-8)
    mixed = torch.einsum("mn,nsl->msl", weights, codes)
    if has_styles(generator) or generator.latent_distribution == "uniform":
        return mixed
    size = generator.latent_size
    lengths = weights @ codes[:, :, :size].norm(dim=2)  # (M, 1)
    latents = mixed[:, :, :size]
    return torch.cat([latents * (lengths / latents.norm(dim=2).clamp(min=1e-8))[:, :, None], mixed[:, :, size:]], 2)


def walk(generator: GeneratorNetwork, codes: Tensor, frames: int) -> Tensor:
    """Returns codes (N · frames, S, L) on a closed path through codes (N, S, L): ``frames`` steps from each to the next, slow near each."""
    steps = torch.arange(frames, device=codes.device) / frames
    eased = steps * steps * (3 - 2 * steps)
    weights = torch.stack([1 - eased, eased], 1)  # (frames, 2)
    pairs = zip(codes, codes.roll(-1, 0), strict=True)
    return torch.cat([blend(generator, torch.stack(pair), weights) for pair in pairs])


def mix_styles(codes: Tensor, layer: int) -> Tensor:
    """Returns a code (1, S, L): the first of two codes (2, S, L) up to ``layer``, then the second (style mixing, Karras et al. 2019)."""
    return torch.cat([codes[:1, :layer], codes[1:2, layer:]], 1)
