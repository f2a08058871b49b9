"""generator.onnx: a generator for every runtime that reads ONNX, and its comparison with PyTorch.

In: a generator. Out: a file whose input ``latents`` (batch, latent_size) gives the output ``images`` (batch, 3, H, W), nominally in
[-1, 1], in float32, for any batch. A labelled generator has a second input, ``labels`` (batch, values): one-hot, the columns next to each
other, as listed in the file's description.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from facegan.common.errors import FaceganError
from facegan.common.files import write_bytes
from facegan.common.pictures import to_bytes
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork

if TYPE_CHECKING:
    import onnx

OPSET = 20  # read by onnxruntime 1.17 and later
COMPARED_FACES = 64
LARGEST_DIFFERENCE = 1  # of 255, in any pixel
MISSING = (
    "expected onnx, onnxscript and onnxruntime; found no {}; run: make export, or pip install -r requirements-studio.txt in a separate "
    "environment"
)


class SeparateLabels(nn.Module):
    """A labelled generator as a function of latents (B, latent_size) and one-hot labels (B, values)."""

    def __init__(self, generator: GeneratorNetwork):
        super().__init__()
        self.generator = generator

    def forward(self, latents: Tensor, labels: Tensor) -> Tensor:
        return self.generator(torch.cat([latents, labels], 1))


def separate_labels(generator: GeneratorNetwork, count: int, seed: int) -> tuple[nn.Module, list[str], list[Tensor]]:
    """Returns the network to export, the names of its inputs, and the inputs of a seed's first faces."""
    latents = seeded_latents(generator, count, seed)
    if not generator.labels.columns:
        return generator, ["latents"], [latents]
    return SeparateLabels(generator), ["latents", "labels"], [*latents.split([generator.latent_size, generator.labels.size], 1)]


def check_packages() -> None:
    """Raises FaceganError unless all packages for ONNX are installed."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise FaceganError(MISSING.format(name))


def convert(network: nn.Module, inputs: Sequence[Tensor], names: Sequence[str], any_batch: bool) -> "onnx.ModelProto":
    """Returns the network as an ONNX model, with constants folded.

    Args:
        inputs: example tensors, with the batch as their first dimension.
        any_batch: whether the batch may have any size; otherwise it has the size of the examples.

    Raises:
        FaceganError: a required package is not installed.
    """
    check_packages()
    shapes = tuple({0: torch.export.Dim("batch")} for _ in inputs) if any_batch else None
    with torch.no_grad():
        program = torch.export.export(network, tuple(inputs), dynamic_shapes=shapes)
        exported = torch.onnx.export(program, opset_version=OPSET, input_names=list(names), output_names=["images"], verbose=False)
    assert exported is not None  # it is None only for the older exporter
    model = exported.model_proto
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("metadata_props")  # which contain paths of this machine
    return model


def write_onnx(generator: GeneratorNetwork, path: Path) -> None:
    """Writes the generator as ONNX."""
    network, names, inputs = separate_labels(generator, 2, 0)
    model = convert(network.eval(), inputs, names, any_batch=True)
    model.doc_string = (
        f"latents (batch, {generator.latent_size}), {generator.latent_distribution}, to images (batch, 3, H, W), nominally in [-1, 1]"
    )
    if generator.labels.columns:
        values = ", ".join(f"{column.name}={value}" for column in generator.labels.columns for value in column.values)
        model.doc_string += f"; labels (batch, {generator.labels.size}): 1 for {values}; 0 for the other values of a column"
    write_bytes(path, model.SerializeToString(deterministic=True))


def measure_difference(generator: GeneratorNetwork, path: Path) -> int:
    """Returns the largest difference between onnxruntime's and PyTorch's faces, in levels of 255, over all pixels of 64 faces."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    network, names, inputs = separate_labels(generator, COMPARED_FACES, 0)
    found, expected = [], []
    for parts in zip(*(values.split(16) for values in inputs), strict=True):
        found.append(torch.from_numpy(session.run(None, {name: part.numpy() for name, part in zip(names, parts, strict=True)})[0]))
        with torch.inference_mode():
            expected.append(network(*parts))
    return int((to_bytes(torch.cat(found)).int() - to_bytes(torch.cat(expected)).int()).abs().max())
