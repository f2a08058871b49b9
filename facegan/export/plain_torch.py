"""generator.py: a generator as straight-line PyTorch code that does not need facegan.

In: a generator. Out: the source of a function from the tensors of generator.safetensors and latents to images, with one line per operation
of the graph that ``torch.export`` returns, for every architecture.
"""

import base64
import zlib

import torch
from torch import Tensor

from facegan.export.onnx_file import separate_labels
from facegan.models.network import GeneratorNetwork

HEADER = '''"""Latents to images in plain PyTorch. Made by facegan from a {name}; the weights are in generator.safetensors."""

import base64
import zlib

import torch

aten, device = torch.ops.aten, torch.device
LATENT_SIZE = {size}


def constant(text, shape):
    """Returns a float32 constant of the network."""
    return torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(text))), dtype=torch.float32).reshape(shape)


def draw_latents(count, seed):
    """Returns latents (count, LATENT_SIZE), the same as facegan's for the same seed."""
    random = torch.Generator().manual_seed(seed)
    return {draw}

{choose}
def forward(weights, latents{parameters}):
    """Returns images (B, 3, H, W), nominally in [-1, 1], from latents (B, LATENT_SIZE){and_labels}."""
    weights = {{name: value.float() for name, value in weights.items()}}
'''
CHOOSE_LABELS = '''
LABELS = {labels}  # each column's values, and how often they occur in the training data


def choose_labels(count, **values):
    """Returns one-hot labels (count, values of all columns): the given values, as in hair="black", or each column's most frequent one."""
    parts = []
    for column, counts in LABELS.items():
        value = values.pop(column, max(counts, key=counts.get))
        parts += [float(value == other) for other in counts]
    assert not values, f"unknown labels: {{values}}"
    return torch.tensor(parts).repeat(count, 1)

'''
DRAWS = {
    "normal": "torch.randn(count, LATENT_SIZE, generator=random)",
    "uniform": "torch.rand(count, LATENT_SIZE, generator=random) * 2 - 1",
}
WITHOUT_EFFECT = ("_assert_tensor_metadata",)


def write_constant(values: Tensor) -> str:
    """Returns the source of a constant tensor of the network, such as a smoothing filter, which compresses well."""
    content = values.detach().float().contiguous().numpy().tobytes()
    return f'constant("{base64.b64encode(zlib.compress(content, 9)).decode()}", {tuple(values.shape)})'


def write_code(generator: GeneratorNetwork, name: str) -> str:
    """Returns the source.

    Args:
        name: of the architecture.
    """
    with torch.no_grad():
        network, _, inputs = separate_labels(generator, 2, 0)
        batch = torch.export.Dim("batch")
        program = torch.export.export(network.eval(), (*inputs,), dynamic_shapes=tuple({0: batch} for _ in inputs))
        program = program.run_decompositions({})
    weights = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    constants = {**program.graph_signature.inputs_to_lifted_tensor_constants, **weights}
    labelled = bool(generator.labels.columns)
    lines = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.users and node.name in constants:
            tensor = constants[node.name]
            value = (
                f'weights["{tensor.removeprefix("generator.") if labelled else tensor}"]'
                if tensor in program.state_dict
                else write_constant(program.constants[tensor])
            )
            lines.append(f"    {node.name} = {value}")
    body = program.graph_module.code.split(":\n", 1)[1]
    for line in body.splitlines():
        statement = line.split(";", 1)[0].replace("torch.ops.aten.", "aten.").rstrip()  # the rest of the line frees memory
        if statement.strip() and not any(part in statement for part in WITHOUT_EFFECT):
            lines.append(statement)
    lines[-1] = lines[-1].replace("return (", "return ").removesuffix(",)")
    labels = {column.name: dict(zip(column.values, column.counts, strict=True)) for column in generator.labels.columns}
    header = HEADER.format(
        name=name,
        size=generator.latent_size,
        draw=DRAWS[str(generator.latent_distribution)],
        choose=CHOOSE_LABELS.format(labels=labels) if labelled else "",
        parameters=", labels" if labelled else "",
        and_labels=" and labels (see choose_labels)" if labelled else "",
    )
    return header + "\n".join(lines) + "\n"
