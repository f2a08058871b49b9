"""generator.onnx: a generator for every runtime that reads ONNX, and its comparison with PyTorch.

In: a generator. Out: a file whose input ``latents`` (batch, latent_size) gives the output ``images`` (batch, 3, H, W), nominally in
[-1, 1], in float32, for any batch.
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
    model = convert(generator, [seeded_latents(generator, 2, 0)], ["latents"], any_batch=True)
    model.doc_string = (
        f"latents (batch, {generator.latent_size}), {generator.latent_distribution}, to images (batch, 3, H, W), nominally in [-1, 1]"
    )
    write_bytes(path, model.SerializeToString(deterministic=True))


def measure_difference(generator: GeneratorNetwork, path: Path) -> int:
    """Returns the largest difference between onnxruntime's and PyTorch's faces, in levels of 255, over all pixels of 64 faces."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    latents = seeded_latents(generator, COMPARED_FACES, 0)
    found = torch.cat([torch.from_numpy(session.run(None, {"latents": part.numpy()})[0]) for part in latents.split(16)])
    with torch.inference_mode():
        expected = torch.cat([generator(part) for part in latents.split(16)])
    return int((to_bytes(found).int() - to_bytes(expected).int()).abs().max())
