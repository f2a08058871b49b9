"""Writes a half-precision copy of a generator for publication, and prints how much its faces have changed.

    python pretrained/publish.py --out pretrained/avatars.safetensors

avatars.safetensors is trained by the preset demo and contains cartoon faces only; `make faces` draws from it.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "stages"))

import command  # noqa: E402 (the path above must come first)
from facegan.common.errors import FaceganError  # noqa: E402
from facegan.common.pictures import to_bytes  # noqa: E402
from facegan.models.generator_file import load_generator, save_generator  # noqa: E402
from facegan.models.latents import seeded_latents  # noqa: E402

FACES = 64
LARGEST_CHANGE = 8  # of 255, in any pixel


def publish(arguments: argparse.Namespace) -> None:
    """Writes the copy; removes it again if its faces differ too much."""
    import torch

    generator, card = load_generator(arguments.model)
    save_generator(arguments.out, generator, card, torch.float16)
    halved, _ = load_generator(arguments.out)
    latents = seeded_latents(generator, FACES, seed=0)
    with torch.inference_mode():
        change = (to_bytes(generator(latents)).int() - to_bytes(halved(latents)).int()).abs().max().item()
    if not change <= LARGEST_CHANGE:
        arguments.out.unlink()
        raise FaceganError(
            f"expected half precision to change faces by at most {LARGEST_CHANGE} of 255; found {change}; publish the original file"
        )
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {size:.2f} MB, {card.model}, {card.resolution} px; faces changed by at most {change} of 255 ({FACES} faces)")


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "data/model/generator.safetensors", help="default: the pipeline's generator")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    command.run(publish, parser.parse_args())
