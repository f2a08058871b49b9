"""Measures how fast the studio draws a wall of 64 faces, and how fast and how precisely Find me finds generated faces again.

    OMP_NUM_THREADS=1 python benchmarks/studio_speed.py

Times are processor times, which depend little on the load of the machine.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import TypeAdapter
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.config import read_yaml  # noqa: E402 (the path above must come first)
from facegan.common.marks import Mark  # noqa: E402
from facegan.common.pictures import from_bytes  # noqa: E402
from facegan.models.generator_file import load_generator  # noqa: E402
from facegan.models.parameters import ModelParameters  # noqa: E402
from facegan.models.registry import build_generator  # noqa: E402
from facegan.sampling import codes  # noqa: E402
from facegan.studio.components import show_faces  # noqa: E402
from facegan.studio.finding import find, open_features  # noqa: E402
from facegan.studio.service import draw  # noqa: E402

WALLS, FOUND = 7, 12


def main() -> None:
    """Prints the measurements."""
    shipped = load_generator(ROOT / "pretrained" / "avatars.safetensors")[0].requires_grad_(False)
    for name, resolution in (("demo", 32), ("anime64_dcgan", 64)):
        print(f"a wall of {name}, {resolution} px: {describe(measure_walls(build(name, resolution)))}")
    print(f"a wall of the shipped generator: {describe(measure_walls(shipped))}")
    errors, seconds = [], []
    for target in draw(shipped, codes.draw_codes(shipped, 2026, FOUND, 1.0)):
        seconds.append(measure(lambda face=target: errors.append(search(shipped, face))))
    print(f"{FOUND} faces found again: {describe(seconds)}; root mean square difference in levels of 255: {describe(errors, '')}")


def build(preset: str, resolution: int) -> nn.Module:
    """Returns the untrained generator of a preset."""
    parameters = read_yaml(ROOT / "presets" / f"{preset}.yaml")["model"]
    return build_generator(TypeAdapter(ModelParameters).validate_python(parameters), resolution).eval().requires_grad_(False)


def measure_walls(network: nn.Module) -> list[float]:
    """Returns the processor seconds of walls of 64 faces, drawn as for a visitor; the first one, a warm-up, is left out."""
    names = codes.name_faces(1, 64, 1.0)
    return [measure(lambda: show_faces(draw(network, codes.draw_codes(network, 1, 64, 1.0)), names, Mark())) for _ in range(WALLS + 1)][1:]


def search(network: nn.Module, face: torch.Tensor) -> float:
    """Returns the difference of the found face from a face (3, H, W) in uint8, in levels of 255."""
    *_, last = find(network, from_bytes(face.clone()), open_features())
    return last.error


def measure(function: Callable[[], object]) -> float:
    """Returns the processor seconds of a call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def describe(values: list[float], unit: str = " CPU s") -> str:
    """Returns the median and the range."""
    return f"median {statistics.median(values):.3g}{unit} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
