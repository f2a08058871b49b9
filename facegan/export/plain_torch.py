"""generator.py: a generator as straight-line PyTorch code that does not need facegan.

In: a generator. Out: the source of a function from the tensors of generator.safetensors and latents to images, with one line per operation
of the graph that ``torch.export`` returns, for every architecture.
"""

import base64
import zlib

import torch
from torch import Tensor

from facegan.models.latents import seeded_latents
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


def forward(weights, latents):
    """Returns images (B, 3, H, W), nominally in [-1, 1], from latents (B, LATENT_SIZE)."""
    weights = {{name: value.float() for name, value in weights.items()}}
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
        program = torch.export.export(generator, (seeded_latents(generator, 2, 0),), dynamic_shapes=({0: torch.export.Dim("batch")},))
        program = program.run_decompositions({})
    weights = {**program.graph_signature.inputs_to_parameters, **program.graph_signature.inputs_to_buffers}
    constants = {**program.graph_signature.inputs_to_lifted_tensor_constants, **weights}
    lines = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.users and node.name in constants:
            tensor = constants[node.name]
            value = f'weights["{tensor}"]' if tensor in program.state_dict else write_constant(program.constants[tensor])
            lines.append(f"    {node.name} = {value}")
    body = program.graph_module.code.split(":\n", 1)[1]
    for line in body.splitlines():
        statement = line.split(";", 1)[0].replace("torch.ops.aten.", "aten.").rstrip()  # the rest of the line frees memory
        if statement.strip() and not any(part in statement for part in WITHOUT_EFFECT):
            lines.append(statement)
    lines[-1] = lines[-1].replace("return (", "return ").removesuffix(",)")
    header = HEADER.format(name=name, size=generator.latent_size, draw=DRAWS[str(generator.latent_distribution)])
    return header + "\n".join(lines) + "\n"
