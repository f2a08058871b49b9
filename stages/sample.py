"""Draws faces, a grid and a walk from a generator, and shows how its training went.

    python stages/sample.py                                          # what dvc repro runs: data/model -> data/samples
    python stages/sample.py --model any.safetensors --out faces      # any generator, wherever it came from
"""

import argparse
from pathlib import Path

from command import ROOT, parser, run
from facegan.common.config import read_values
from facegan.models.generator_file import load_generator
from facegan.parameters import read_parameters
from facegan.sampling.drawing import draw_faces, draw_losses, draw_progress, draw_walk
from facegan.sampling.parameters import SampleParameters

MODEL = ROOT / "data/model"


def sample(arguments: argparse.Namespace) -> None:
    import torch

    chosen = {name: getattr(arguments, name) for name in ("seed", "count") if getattr(arguments, name) is not None}
    parameters = read_parameters(arguments.params).sample
    parameters = read_values(SampleParameters, {**parameters.model_dump(), **chosen}, "the command line")
    path = arguments.model or MODEL / "generator.safetensors"
    generator, card = load_generator(path, "cuda" if torch.cuda.is_available() else "cpu")
    print(f"{path}: {card.model}, {card.resolution} px, trained on {card.images_seen:,} images")
    draw_faces(generator, parameters, arguments.out)
    draw_walk(generator, parameters, arguments.out)
    made = ["grid.png", f"{parameters.count} faces in faces/", "walk.webp"]
    if arguments.model is None:
        draw_progress(MODEL / "progress", arguments.out)
        draw_losses(ROOT / "metrics/losses.csv", arguments.out)
        made += ["progress.gif", "losses.png"]
    print(f"{arguments.out}: {', '.join(made)}")


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("--model", type=Path, help="a generator.safetensors (default: the pipeline's, with its progress and losses)")
    options.add_argument("--seed", type=int, help="another seed gives other faces (default: sample.seed)")
    options.add_argument("--count", type=int, help="how many single faces (default: sample.count)")
    options.add_argument("--out", type=Path, default=ROOT / "data/samples", help="folder for the pictures (default: data/samples)")
    run(sample, options.parse_args())
