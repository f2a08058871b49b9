"""Writes a half-precision copy of a generator, for others to draw faces from, and says what the halving changed.

    python pretrained/publish.py --out pretrained/avatars.safetensors

avatars.safetensors is what the preset demo trains, and holds cartoon faces only; `make faces` draws from it.
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
            f"expected faces that half precision changes by at most {LARGEST_CHANGE} of 255; found {change}; publish the generator as it is"
        )
    size = arguments.out.stat().st_size / 1e6
    print(
        f"{arguments.out}: {size:.2f} MB, {card.model}, {card.resolution} px; no pixel of {FACES} faces changed by more than {change} of 255"
    )


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "data/model/generator.safetensors", help="default: the pipeline's generator")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    command.run(publish, parser.parse_args())
