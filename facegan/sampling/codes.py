"""Codes: what a generator's synthesis reads for a face, and how a face is written as a short text.

A code is (S, L): for a generator with styles (StyleGAN2) one style for each layer, after truncation; for every other one S is 1
and the only row is the latent. All that the studio does to a face, it does to its code.

A face as text is either ``seed-index-truncation`` (``7-12-0.8``: face 12 of seed 7), which stands for the same latent in every
generator, or ``~`` and the code's bytes (float16, base64 for URLs), which fits generators of the same shape alone.
"""

import base64
import binascii
import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.models.latents import seeded_latents, truncate

MOST_FACES = 256  # of one seed
HIGHEST_SEED = 2**32 - 1
FACES_AT_ONCE = 16
SEEDED = re.compile(r"(\d{1,10})-(\d{1,3})-(\d(?:\.\d{1,2})?)", re.ASCII)
EXPECTED = "expected a face such as 7-12-0.8 (seed, number, truncation)"


def has_styles(generator: nn.Module) -> bool:
    """Returns whether each of the generator's layers reads a style of its own."""
    return hasattr(generator, "choose_styles")


def count_rows(generator: nn.Module) -> int:
    """Returns S: how many rows the generator's codes have."""
    return len(generator.layers) + 1 if has_styles(generator) else 1


@torch.inference_mode()
def encode(generator: nn.Module, latents: Tensor, truncation: float) -> Tensor:
    """Returns codes (N, S, L) of latents (N, L)."""
    latents = truncate(generator, latents, truncation)
    if has_styles(generator):
        return generator.choose_styles(latents).transpose(0, 1).contiguous()
    return latents[:, None]


def synthesize(generator: nn.Module, codes: Tensor) -> Tensor:
    """Returns images (N, 3, H, W), nominally in [-1, 1], of codes (N, S, L). Gradients flow."""
    if has_styles(generator):
        return generator.synthesize(codes.transpose(0, 1))
    return generator(codes[:, 0])


def draw_codes(generator: nn.Module, seed: int, count: int, truncation: float) -> Tensor:
    """Returns the codes (count, S, L) of a seed's first faces: fewer or more of them are always the same ones, to the last bit."""
    latents = seeded_latents(generator, MOST_FACES, seed)  # all of them: another number could round another way
    return encode(generator, latents.to(device_of(generator)), truncation)[:count]


def device_of(generator: nn.Module) -> torch.device:
    """Returns where the generator's weights are."""
    return next(generator.parameters()).device


def name_faces(seed: int, count: int, truncation: float) -> list[str]:
    """Returns the texts of a seed's first faces."""
    return [f"{seed}-{index}-{truncation:.2f}".rstrip("0").rstrip(".") for index in range(count)]


def write_code(code: Tensor) -> str:
    """Returns a code (S, L) as text. Rows that are all the same are written once."""
    rows = code.detach().cpu()
    rows = rows[:1] if bool((rows == rows[:1]).all()) else rows
    return "~" + base64.urlsafe_b64encode(rows.numpy().astype("<f2").tobytes()).decode().rstrip("=")


def read_faces(generator: nn.Module, faces: Sequence[str]) -> Tensor:
    """Returns codes (N, S, L) of faces written as text.

    Raises:
        FaceganError: a text that is no face, or one of a generator of another shape.
    """
    return torch.cat([read_code(generator, face) if face.startswith("~") else read_seeded(generator, face) for face in faces])


def read_seeded(generator: nn.Module, face: str) -> Tensor:
    """Returns the code (1, S, L) of a face written as ``seed-index-truncation``."""
    match = SEEDED.fullmatch(face)
    if not match:
        raise FaceganError(f"{EXPECTED}; found {face[:40]!r}; pick one from the wall")
    seed, index, truncation = int(match[1]), int(match[2]), float(match[3])
    if seed > HIGHEST_SEED or index >= MOST_FACES or not 0 < truncation <= 2:
        raise FaceganError(
            f"{EXPECTED}, a seed up to {HIGHEST_SEED}, a number below {MOST_FACES}, a truncation from 0.01 to 2; found {face!r}; pick another"
        )
    return draw_codes(generator, seed, index + 1, truncation)[index:]


def read_code(generator: nn.Module, face: str) -> Tensor:
    """Returns the code (1, S, L) of a face written as ``~`` and its bytes."""
    rows, size = count_rows(generator), generator.latent_size
    try:
        values = np.frombuffer(base64.b64decode(face[1:] + "=" * (-len(face[1:]) % 4), altchars=b"-_", validate=True), "<f2")
    except (binascii.Error, ValueError):
        raise FaceganError(f"expected a face as the studio writes it; found {face[:20]!r}…; pick it again") from None
    if len(values) not in (size, rows * size):
        raise FaceganError(f"expected a face of this generator ({rows} × {size} numbers); found one of {len(values)} numbers; pick another")
    if not np.isfinite(values).all():
        raise FaceganError("expected a face of finite numbers; found infinite ones or NaN; pick another")
    code = torch.from_numpy(values.astype(np.float32)).reshape(-1, size).expand(rows, size)
    return code[None].to(device_of(generator))


def blend(generator: nn.Module, codes: Tensor, weights: Tensor) -> Tensor:
    """Returns codes (M, S, L) between codes (N, S, L), by weights (M, N) of zero or more.

    Normal latents get the length that theirs have on the average, since the middle of two is too short to be likely
    (which is what spherical interpolation is for); styles and uniform latents are blended straight.
    """
    weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-8)
    mixed = torch.einsum("mn,nsl->msl", weights, codes)
    if has_styles(generator) or generator.latent_distribution == "uniform":
        return mixed
    lengths = weights @ codes.norm(dim=2)  # (M, 1)
    return mixed * (lengths / mixed.norm(dim=2).clamp(min=1e-8))[:, :, None]


def walk(generator: nn.Module, codes: Tensor, frames: int) -> Tensor:
    """Returns codes (N · frames, S, L) on a closed way through codes (N, S, L): so many steps from each to the next, slow near the faces."""
    steps = torch.arange(frames, device=codes.device) / frames
    eased = steps * steps * (3 - 2 * steps)
    weights = torch.stack([1 - eased, eased], 1)  # (frames, 2)
    return torch.cat(
        [blend(generator, torch.stack([code, following]), weights) for code, following in zip(codes, codes.roll(-1, 0), strict=True)]
    )


def mix_styles(codes: Tensor, layer: int) -> Tensor:
    """Returns a code (1, S, L): the first of two codes (2, S, L) up to a layer, the second from there on (Karras et al. 2019, style mixing)."""
    return torch.cat([codes[:1, :layer], codes[1:2, layer:]], 1)
