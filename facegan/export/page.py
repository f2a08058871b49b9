"""page.html: one file that draws faces in any browser, without a server or a network.

In: a generator, and names for its directions. Out: HTML with the network's operations, its weights in half precision, and an interpreter
for them in JavaScript (``interpreter.js``), whose matrix products run in 606 bytes of WebAssembly (``multiply.wat``). Its first face takes
as long as onnxruntime-web's, which would add 14 MB to every file.
"""

import base64
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from facegan.common.errors import FaceganError
from facegan.common.files import write_text
from facegan.export.onnx_file import convert
from facegan.models.generator_file import Card
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.sampling import codes
from facegan.sampling.directions import REACH, find_directions

if TYPE_CHECKING:
    import onnx

STATIC = Path(__file__).parent
OPERATIONS_PER_SECOND = 7e9  # of a laptop's browser: measured 5e9 to 1.1e10 (docs/measurements/studio.md)


class PageNetwork(nn.Module):
    """The generator as a function of a latent (1, L), the truncation (1, 1), a shift (1, L) of its code along directions, and labels."""

    def __init__(self, generator: GeneratorNetwork):
        super().__init__()
        self.generator: Any = generator

    def forward(self, latents: Tensor, truncation: Tensor, shift: Tensor, labels: Tensor | None = None) -> Tensor:
        end = [] if labels is None else [labels]
        if not codes.has_styles(self.generator):
            return self.generator(torch.cat([latents * truncation + shift, *end], 1) if end else latents * truncation + shift)
        average, latents = self.generator.average_style, torch.cat([latents, *end], 1) if end else latents
        styles = average + (self.generator.map_latents(latents) - average) * truncation + shift  # (1, L)
        return self.generator.synthesize(styles.expand(codes.count_rows(self.generator), -1, -1))


def estimate_seconds(generator: GeneratorNetwork) -> float:
    """Returns how long the page needs for a face on a laptop, in seconds, to one digit."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        generator(seeded_latents(generator, 1, 0))
    return float(f"{max(0.1, counter.get_total_flops() / OPERATIONS_PER_SECOND):.1g}")


def write_page(path: Path, generator: GeneratorNetwork, card: Card, names: dict[int, str], title: str) -> int:
    """Writes the page and returns its size in bytes.

    Args:
        names: of the directions, by number.
        title: of the page.

    Raises:
        FaceganError: missing packages, or a network with an operation that the interpreter does not implement.
    """
    latents, *labels = (part for part in seeded_latents(generator, 1, 0).split([generator.latent_size, generator.labels.size], 1))
    labels = labels if generator.labels.columns else []
    inputs = [latents, torch.ones(1, 1), torch.zeros_like(latents), *labels]
    names_of_inputs = ["latents", "truncation", "shift", "labels"][: len(inputs)]
    model = convert(PageNetwork(generator).eval(), inputs, names_of_inputs, any_batch=False)
    interpreter = (STATIC / "interpreter.js").read_text()
    known = re.findall(r"\b([A-Z]\w+): ", interpreter[interpreter.index("const operations") :])
    unknown = ", ".join(sorted({node.op_type for node in model.graph.node} - set(known)))
    if unknown:
        raise FaceganError(f"expected operations that page.html implements; found {unknown}; add them to facegan/export/interpreter.js")
    graph, weights = describe_graph(model.graph)
    directions = find_directions(generator)
    content = {
        "graph": graph,
        "title": title,
        "seconds": estimate_seconds(generator),
        "resolution": card.resolution,
        "latent_size": card.latent_size,
        "distribution": generator.latent_distribution,
        "directions": [[round(value, 5) for value in direction] for direction in directions.tolist()],
        "reach": REACH,
        "labels": [
            {"name": column.name, "values": column.values, "start": generator.labels.combinations[0][number]}
            for number, column in enumerate(generator.labels.columns)
        ],
        "mark": card.mark.replace("face drawn by page.html", "page-SEED").write_xmp(),
        "names": [names.get(number, f"Direction {number + 1}") for number in range(len(directions))],
    }
    page = (STATIC / "page.html").read_text()
    parts = {
        "TITLE": html.escape(title),
        "SCRIPT": (STATIC / "page.js").read_text(),
        "INTERPRETER": interpreter,
        "CONTENT": json.dumps(content).replace("</", "<\\/"),
        "WEIGHTS": base64.b64encode(weights).decode(),
    }
    for name, part in parts.items():
        page = page.replace(f"{{{{{name}}}}}", part)
    write_text(path, page)
    return path.stat().st_size


def describe_graph(graph: "onnx.GraphProto") -> tuple[dict[str, Any], bytes]:
    """Returns an ONNX graph as JSON values, and its floating-point tensors in half precision, concatenated."""
    import onnx

    tensors: dict[str, Any] = {}
    weights, start = [], 0
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f":
            half = np.clip(values, -65504, 65504).astype("<f2")
            tensors[tensor.name] = {"shape": list(values.shape), "start": start}
            weights.append(half.tobytes())
            start += values.size
        else:
            tensors[tensor.name] = {"shape": list(values.shape), "values": values.flatten().tolist()}
    nodes = []
    for node in graph.node:
        settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        settings = {key: value.decode() if isinstance(value, bytes) else value for key, value in settings.items()}
        settings = {key: value for key, value in settings.items() if isinstance(value, int | float | str | list)}
        nodes.append([node.op_type, list(node.input), list(node.output), settings])
    return {"tensors": tensors, "nodes": nodes, "output": graph.output[0].name}, b"".join(weights)
