"""generator.safetensors: one file that is sufficient to sample, score or publish a generator.

In or out: a generator and its card. The weights are the tensors; the card, from which the network is rebuilt, is the file's metadata.
Nothing is unpickled, and the card is checked before it is used: the network is first built without memory and its shapes are compared with
the file's header; then the hash of card and tensors is compared.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from torch.overrides import TorchFunctionMode

from facegan.common.config import ConfigurationError, Section, read_values
from facegan.common.errors import FaceganError, printable
from facegan.common.files import PrintableText, write_bytes
from facegan.common.labels import NO_LABELS, Labels
from facegan.common.marks import Mark
from facegan.models.checkpoint_file import is_checkpoint, read_checkpoint
from facegan.models.network import GeneratorNetwork
from facegan.models.parameters import ModelParameters
from facegan.models.registry import MODELS, build_generator

FORMAT = "facegan-generator-1"
REMEDY = "name a generator.safetensors that facegan wrote"
Built = TypeVar("Built", bound=nn.Module)
BuildNetwork = Callable[[ModelParameters, int, Labels], Built]
DTYPES = {"F32", "F16", "I64"}  # weights, halved weights, batch norm's counter


class Card(BaseModel):
    """What a generator is and where it comes from.

    Attributes:
        model: the architecture's name in ``facegan.models.registry.MODELS``.
        arguments: the rest of that model's parameters.
        resolution: the pictures' height and width, in pixels.
        latent_size: how many numbers one latent has.
        labels: of a labelled generator, the columns and their values.
        images_seen: real images shown in training.
        data_fingerprint: the shards it was trained on.
        parameters_fingerprint: the parameters that trained it.
        sha256: of the rest of the card and the tensors in the file; None before it is written, in a checkpoint's card (the checkpoint has
            a hash of its own), and in files of facegan 0.1. ``load_generator`` always sets it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    model: str
    arguments: dict[str, Any]
    resolution: Annotated[int, Ge(4), Le(1024)]
    latent_size: Annotated[int, Ge(1)]
    labels: Labels | None = None
    images_seen: Annotated[int, Ge(0)]
    data_fingerprint: PrintableText
    parameters_fingerprint: PrintableText
    sha256: str | None = None

    @property
    def parameters(self) -> ModelParameters:
        """The section ``model`` of the parameters. Raises pydantic's ValidationError where the card holds nothing of the kind."""
        return TypeAdapter(ModelParameters).validate_python({"name": self.model, **self.arguments})

    @property
    def mark(self) -> Mark:
        """What a picture by this generator states about its origin."""
        model = f"{self.model}, {self.resolution} px, {self.images_seen} images, parameters {self.parameters_fingerprint[:12]}"
        return Mark(self.sha256 or "", model)


class _CheckedCard(Section):
    """A card's model, as one section, for the messages."""

    model: ModelParameters


def save_generator(path: Path, generator: nn.Module, card: Card, dtype: torch.dtype = torch.float32) -> None:
    """Writes the generator's weights, buffers and card. The same generator and card give byte-identical files."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    tensors = {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}
    card = card.model_copy(update={"sha256": compute_hash(card, tensors)})
    write_bytes(path, save(tensors, {"card": write_card(card)}))  # one entry: safetensors shuffles several


def write_card(card: Card) -> str:
    """Returns the card as the text that ``read_card`` reads."""
    return json.dumps({"format": FORMAT, **_dump(card)})


def _dump(card: Card, *excluded: str) -> dict[str, Any]:
    """Returns the card as plain values, without labels and hash where there are none."""
    return card.model_dump(exclude={*excluded, *(name for name in ("labels", "sha256") if getattr(card, name) is None)})


def compute_hash(card: Card, tensors: dict[str, torch.Tensor]) -> str:
    """Returns the SHA-256 of the card, without its own hash, and of the names, types, shapes and bytes of the tensors."""
    digest = hashlib.sha256(json.dumps(_dump(card, "sha256"), sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def load_generator(path: Path, device: torch.device | str = "cpu") -> tuple[GeneratorNetwork, Card]:
    """Returns the generator, in float32 and evaluation mode, and its card; also from a checkpoint of a running training.

    Raises:
        FaceganError: no such file, not a generator's file, damaged weights, or weights that do not fit the card or are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FaceganError(f"expected a generator at {path}; found no such file; train one first, or give the path of another one")
    try:
        network, card = read_generator_from_checkpoint(path) if is_checkpoint(path) else load_network(path, build_generator)
    except OSError as error:
        raise FaceganError(f"expected to read {path}; found: {error.strerror or error}; fix that and run the same command again") from None
    if card.sha256 is None:
        card = card.model_copy(update={"sha256": compute_hash(card, network.state_dict())})
    return network.to(device).eval(), card


def load_network(path: Path, build: BuildNetwork[Built]) -> tuple[Built, Card]:
    """Returns a network that ``save_generator`` wrote (a discriminator too), on the CPU, and its card.

    Args:
        build: makes the network from a card's model and resolution.

    Raises:
        FaceganError, OSError: as for ``load_generator``.
    """
    try:
        with safe_open(path, "pt") as file:
            card = read_card(path, (file.metadata() or {}).get("card", ""))
            header = {name: (tuple(file.get_slice(name).get_shape()), file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
            check_shapes(path, card, header, build)
            tensors = {name: file.get_tensor(name) for name in header}
    except SafetensorError as error:
        raise FaceganError(f"expected a safetensors file at {path}; found another ({printable(str(error))}); {REMEDY}") from None
    if card.sha256 is None:
        print(f"note: {path} was written by facegan 0.1, without a hash; changed or damaged weights cannot be detected", file=sys.stderr)
    elif card.sha256 != compute_hash(card, tensors):
        raise FaceganError(f"expected {path} as it was written; found other bytes; copy it again, or train again")
    return fill_network(path, card, tensors, build), card


def read_generator_from_checkpoint(path: Path) -> tuple[GeneratorNetwork, Card]:
    """Returns the averaged generator of a running training, on the CPU, and its card.

    Raises:
        FaceganError: no such file, a damaged one, or weights that do not match the card.
    """
    state = read_checkpoint(path)
    card, tensors = read_card(path, state.get("card")), state.get("tensors")
    items = tensors.items() if isinstance(tensors, dict) else ()
    average = {name.removeprefix("ema."): value for name, value in items if name.startswith("ema.") and isinstance(value, torch.Tensor)}
    names = {torch.float32: "F32", torch.int64: "I64"}
    check_shapes(path, card, {name: (tuple(value.shape), names.get(value.dtype, "")) for name, value in average.items()}, build_generator)
    return fill_network(path, card, average, build_generator), card


def fill_network(path: Path, card: Card, tensors: dict[str, torch.Tensor], build: BuildNetwork[Built]) -> Built:
    """Returns the card's network with these weights. Raises FaceganError if they are not finite, or all zero."""
    if not any(value.any() for value in tensors.values() if value.is_floating_point()):
        raise FaceganError(f"expected trained weights in {path}; found only zeros; {REMEDY}")
    if not all(value.isfinite().all() for value in tensors.values()):
        raise FaceganError(f"expected finite weights in {path}; found NaN or infinity: its training exploded; {REMEDY}")
    network = build(card.parameters, card.resolution, card.labels or NO_LABELS)
    network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()})
    return network


def read_card(path: Path, text: Any) -> Card:
    """Returns the card that a file's metadata hold. Raises FaceganError where they hold none, or one that makes no sense."""
    try:
        content = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise FaceganError(f"expected a generator of format {FORMAT} in {path}; found another file; {REMEDY}")
    try:
        card = read_values(Card, content, f"the card of {path}")
        if card.model not in MODELS:
            raise FaceganError(f"expected a model among {', '.join(MODELS)} in {path}; found {printable(card.model)!r}; update facegan")
        read_values(_CheckedCard, {"model": {"name": card.model, **card.arguments}}, f"the card of {path}")
    except ConfigurationError as error:
        raise FaceganError(f"expected a card that facegan wrote in {path}; found another ({'; '.join(error.problems)}); {REMEDY}") from None
    return card


class _FirstWeightsLeftOut(TorchFunctionMode):
    """Where networks are built without their first weights being drawn. On the meta device nothing is drawn anyway; but PyTorch imports
    its compiler for it, which takes two seconds."""

    def __torch_function__(self, function: Callable, types: Any, arguments: tuple = (), named: dict[str, Any] | None = None) -> Any:
        if function is nn.init.normal_:
            return (named or {})["tensor"]
        return function(*arguments, **(named or {}))


def check_shapes(path: Path, card: Card, header: dict[str, tuple[tuple[int, ...], str]], build: BuildNetwork) -> None:
    """Raises FaceganError unless the file's tensors are those of the card's network; no memory is taken for either."""
    with torch.device("meta"), _FirstWeightsLeftOut():
        network = build(card.parameters, card.resolution, card.labels or NO_LABELS)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    wrong = [name for name in expected if name not in header or header[name][0] != expected[name] or header[name][1] not in DTYPES]
    wrong += [name for name in header if name not in expected]
    if wrong or getattr(network, "latent_size", card.latent_size) != card.latent_size:
        first = printable(wrong[0]) if wrong else "latent_size"
        raise FaceganError(
            f"expected the weights of a {card.model} in {path}; found others ({first}, and {max(0, len(wrong) - 1)} more); {REMEDY}"
        )
