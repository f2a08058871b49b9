"""Draws faces, a grid and a walk from a generator, and writes a page that shows how good it is and how its training went.

    python stages/sample.py                                          # what dvc repro runs: data/model -> data/samples
    python stages/sample.py --model any.safetensors --out faces      # any generator, wherever it came from
"""

import argparse
from pathlib import Path

from command import ROOT, parser, run
from facegan.common.config import read_values
from facegan.models.generator_file import load_generator
from facegan.parameters import read_parameters
from facegan.sampling.animations import draw_progress, draw_walk
from facegan.sampling.chart_library import write_chart_library
from facegan.sampling.curves import draw_losses
from facegan.sampling.faces import draw_faces
from facegan.sampling.parameters import SampleParameters
from facegan.sampling.report import Sources, write_report


def sample(arguments: argparse.Namespace) -> None:
    import torch

    chosen = {name: getattr(arguments, name) for name in ("seed", "count") if getattr(arguments, name) is not None}
    parameters = read_parameters(arguments.params).sample
    parameters = read_values(SampleParameters, {**parameters.model_dump(), **chosen}, "the command line")
    alone = arguments.model.is_file()
    path = arguments.model if alone else arguments.model / "generator.safetensors"
    generator, card = load_generator(path, "cuda" if torch.cuda.is_available() else "cpu")
    print(f"{path}: {card.model}, {card.resolution} px, trained on {card.images_seen:,} images")
    draw_faces(generator, parameters, arguments.out)
    draw_walk(generator, parameters, arguments.out)
    pictures = {"grid": arguments.out / "grid.png", "walk": arguments.out / "walk.webp"}
    sources = Sources()
    if not alone:
        sources = Sources(arguments.model / "training.json", arguments.losses, arguments.quick_scores, arguments.evaluation)
        write_chart_library(arguments.out)
        if arguments.losses.is_file():
            draw_losses(arguments.losses, arguments.out)
        if any((arguments.model / "progress").glob("*.png")):
            draw_progress(arguments.model / "progress", arguments.out)
            pictures["progress"] = arguments.out / "progress.gif"
    write_report(arguments.out, card, parameters.as_plain(), pictures, sources)
    print(f"{arguments.out}: report.html shows it all; {parameters.count} faces in faces/")


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument(
        "--model", type=Path, default=ROOT / "data/model", help="the training's folder, or one generator.safetensors alone (default: data/model)"
    )
    options.add_argument("--losses", type=Path, default=ROOT / "metrics/losses.csv", help="beside a folder (default: metrics/losses.csv)")
    options.add_argument("--quick-scores", type=Path, default=ROOT / "metrics/quick_scores.csv", help="likewise (default: metrics/quick_scores.csv)")
    options.add_argument("--evaluation", type=Path, default=ROOT / "data/evaluation", help="likewise, a folder (default: data/evaluation)")
    options.add_argument("--seed", type=int, help="another seed gives other faces (default: sample.seed)")
    options.add_argument("--count", type=int, help="how many single faces (default: sample.count)")
    options.add_argument("--out", type=Path, default=ROOT / "data/samples", help="folder for the pictures (default: data/samples)")
    run(sample, options.parse_args())
