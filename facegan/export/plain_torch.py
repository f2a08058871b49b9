"""generator.py: a generator as straight-line PyTorch, which needs nothing of facegan.

In: a generator. Out: the source of a function that takes the tensors of generator.safetensors and latents to images, one line for each
operation that ``torch.export`` found. It is made, not written: the same for every architecture.
"""

import base64
import zlib

import torch
from torch import Tensor, nn

from facegan.models.latents import seeded_latents

HEADER = '''"""Latents to images with nothing but PyTorch. Made by facegan from a {name}; the weights are in generator.safetensors."""

import base64
import zlib

import torch

aten, device = torch.ops.aten, torch.device
LATENT_SIZE = {size}


def constant(text, shape):
    """Returns float32 numbers that belong to the network and are never learned."""
    return torch.frombuffer(bytearray(zlib.decompress(base64.b64decode(text))), dtype=torch.float32).reshape(shape)


def draw_latents(count, seed):
    """Returns latents (count, LATENT_SIZE); the same seed gives the same ones, and those that facegan draws."""
    random = torch.Generator().manual_seed(seed)
    return {draw}


def forward(weights, latents):
    """Returns images (B, 3, H, W), nominally in [-1, 1], of latents (B, LATENT_SIZE)."""
    weights = {{name: value.float() for name, value in weights.items()}}
'''
DRAWS = {
    "normal": "torch.randn(count, LATENT_SIZE, generator=random)",
    "uniform": "torch.rand(count, LATENT_SIZE, generator=random) * 2 - 1",
}
WITHOUT_EFFECT = ("_assert_tensor_metadata",)


def write_constant(values: Tensor) -> str:
    """Returns the call that gives a constant tensor of the network again: smoothing filters, which pack to little."""
    content = values.detach().float().contiguous().numpy().tobytes()
    return f'constant("{base64.b64encode(zlib.compress(content, 9)).decode()}", {tuple(values.shape)})'


def write_code(generator: nn.Module, name: str) -> str:
    """Returns the source.

    Args:
        name: the architecture's.
    """
    with torch.no_grad():
        program = torch.export.export(generator, (seeded_latents(generator, 2, 0),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        program = program.run_decompositions({})
    weights = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    constants = {**program.graph_signature.inputs_to_lifted_tensor_constants, **weights}
    lines = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.users and node.name in constants:
            name = constants[node.name]
            lines.append(
                f"    {node.name} = " + (f'weights["{name}"]' if name in program.state_dict else write_constant(program.constants[name]))
            )
    body = program.graph_module.code.split(":\n", 1)[1]
    for line in body.splitlines():
        statement = line.split(";", 1)[0].replace("torch.ops.aten.", "aten.").rstrip()  # what follows frees memory
        if statement.strip() and not any(part in statement for part in WITHOUT_EFFECT):
            lines.append(statement)
    lines[-1] = lines[-1].replace("return (", "return ").removesuffix(",)")
    header = HEADER.format(name=name, size=generator.latent_size, draw=DRAWS[generator.latent_distribution])
    return header + "\n".join(lines) + "\n"
