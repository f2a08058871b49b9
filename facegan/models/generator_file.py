"""generator.safetensors: one file that is enough to sample, score or publish a generator.

In or out: a generator and its card. The weights are the tensors; the card, which rebuilds the network around them, is the
file's metadata. Nothing is unpickled.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from facegan.common import config
from facegan.common.errors import FaceganError
from facegan.models import MODELS, build_generator

FORMAT = "facegan-generator-1"


@dataclasses.dataclass(frozen=True)
class Card:
    """What a generator is and where it comes from.

    Attributes:
        model: the architecture's name in ``facegan.models.MODELS``.
        arguments: the fields of that model's dataclass.
        resolution: the pictures' height and width, in pixels.
        latent_size: how many numbers one latent has.
        images_seen: real images shown in training.
        data_fingerprint: the shards it was trained on.
        parameters_fingerprint: the parameters that trained it.
    """

    model: str
    arguments: dict[str, Any]
    resolution: int
    latent_size: int
    images_seen: int
    data_fingerprint: str
    parameters_fingerprint: str


def save_generator(path: Path, generator: nn.Module, card: Card, dtype: torch.dtype = torch.float32) -> None:
    """Writes the generator's weights and buffers and its card. The same generator and card give the same bytes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    tensors = {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}
    metadata = {"card": json.dumps({"format": FORMAT, **dataclasses.asdict(card)})}  # one entry: safetensors shuffles several
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)


def load_generator(path: Path, device: torch.device | str = "cpu") -> tuple[nn.Module, Card]:
    """Returns the generator, in float32 and evaluation mode, and its card.

    Raises:
        FaceganError: no such file, not a safetensors file, not one of ours, or weights that do not fit the card.
    """
    if not Path(path).is_file():
        raise FaceganError(f"expected a generator at {path}; found no such file; train one, or name another with --model")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
    except SafetensorError as error:
        raise FaceganError(f"expected a safetensors file at {path}; found another ({error}); name a generator.safetensors") from None
    content = json.loads(metadata.get("card", "{}"))
    if content.pop("format", None) != FORMAT:
        raise FaceganError(f"expected a generator of format {FORMAT} in {path}; found another file; name one that facegan wrote")
    card = Card(**content)
    if card.model not in MODELS:
        raise FaceganError(f"expected a model among {', '.join(MODELS)} in {path}; found {card.model!r}; update facegan")
    problems: list[str] = []
    arguments = config.read_dataclass(MODELS[card.model].arguments, card.arguments, f"{path}: model", problems)
    if problems:
        raise FaceganError("; ".join(problems))
    generator = build_generator(card.model, card.resolution, arguments)
    try:
        generator.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()})
    except RuntimeError as error:
        raise FaceganError(f"expected the weights of a {card.model} in {path}; found others ({' '.join(str(error).split())[:200]})") from None
    return generator.to(device).eval(), card
