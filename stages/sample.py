"""Draws faces, a grid and a walk from a generator, and writes a page that shows how good it is and how its training went.

python stages/sample.py                                          # what dvc repro runs: data/model -> data/samples
python stages/sample.py --model any.safetensors --out faces      # any generator, wherever it came from
python stages/sample.py --face 12 40 --seed 3                    # those two faces of seed 3 again, into faces/
python stages/sample.py --between 12 40 --seed 3                 # one turns into the other and back
"""

import argparse
from pathlib import Path

from command import ROOT, parser, run
from facegan.common.config import read_values
from facegan.common.devices import find_device
from facegan.common.errors import FaceganError
from facegan.common.files import discard
from facegan.models.generator_file import load_generator
from facegan.parameters import read_parameters
from facegan.sampling.animations import BLEND_FACE_PIXELS, draw_blend, draw_progress, draw_walk
from facegan.sampling.chart_library import write_chart_library
from facegan.sampling.curves import draw_losses
from facegan.sampling.faces import SINGLE_FACE_PIXELS, check_numbers, draw_chosen, draw_faces
from facegan.sampling.parameters import SampleParameters
from facegan.sampling.report import Sources, write_report

LARGEST_PIXELS = 4096


def sample(arguments: argparse.Namespace) -> None:
    chosen = {name: getattr(arguments, name) for name in ("seed", "count") if getattr(arguments, name) is not None}
    parameters = read_parameters(arguments.params).sample
    parameters = read_values(SampleParameters, {**parameters.model_dump(), **chosen}, "the command line")
    if arguments.pixels is not None and not 1 <= arguments.pixels <= LARGEST_PIXELS:
        raise FaceganError(f"expected --pixels from 1 to {LARGEST_PIXELS:,}; found {arguments.pixels}; name another size")
    check_numbers([*(arguments.face or []), *(arguments.between or [])])
    path = arguments.model / "generator.safetensors" if arguments.model.is_dir() else arguments.model
    generator, card = load_generator(path, find_device())
    print(f"{path}: {card.model}, {card.resolution} px, trained on {card.images_seen:,} images")
    origin = {"generator": f"{card.model}, {card.resolution} px, {card.images_seen} images, parameters {card.parameters_fingerprint[:12]}"}
    if arguments.face or arguments.between:
        out = arguments.out or ROOT / "faces"
        made = (
            draw_chosen(generator, parameters, arguments.face, out, arguments.pixels or SINGLE_FACE_PIXELS, origin)
            if arguments.face
            else []
        )
        made += (
            [draw_blend(generator, parameters, tuple(arguments.between), out, arguments.pixels or BLEND_FACE_PIXELS)]
            if arguments.between
            else []
        )
        print(*made, sep="\n")
        return

    out = arguments.out or ROOT / "data/samples"
    for name in ("progress.gif", "losses.png", "vega.js"):  # an earlier call's, of another model perhaps
        discard(out / name)
    draw_faces(generator, parameters, out, arguments.pixels or SINGLE_FACE_PIXELS, origin)
    draw_walk(generator, parameters, out)
    pictures = {"grid": out / "grid.png", "walk": out / "walk.webp"}
    sources = Sources()
    if arguments.model.is_dir():
        sources = Sources(arguments.model / "training.json", arguments.losses, arguments.quick_scores, arguments.evaluation)
        write_chart_library(out)
        if arguments.losses.is_file():
            draw_losses(arguments.losses, out)
        if any((arguments.model / "progress").glob("*.png")):
            draw_progress(arguments.model / "progress", out)
            pictures["progress"] = out / "progress.gif"
    write_report(out, card, parameters.as_plain(), pictures, sources)
    print(f"{out}: report.html shows it all; {parameters.count} faces in faces/")


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument(
        "--model",
        type=Path,
        default=ROOT / "data/model",
        help="training's folder, one generator.safetensors alone, or a checkpoint of a training that may still run (default: data/model)",
    )
    options.add_argument(
        "--losses", type=Path, default=ROOT / "metrics/losses.csv", help="goes with training's folder (default: metrics/losses.csv)"
    )
    options.add_argument(
        "--quick-scores", type=Path, default=ROOT / "metrics/quick_scores.csv", help="likewise (default: metrics/quick_scores.csv)"
    )
    options.add_argument("--evaluation", type=Path, default=ROOT / "data/evaluation", help="likewise, a folder (default: data/evaluation)")
    options.add_argument("--seed", type=int, help="another seed gives other faces (default: sample.seed)")
    options.add_argument("--count", type=int, help="how many single faces (default: sample.count)")
    options.add_argument(
        "--face", type=int, nargs="+", metavar="NUMBER", help="draw these faces of the seed alone; the numbers stand in the files' names"
    )
    options.add_argument("--between", type=int, nargs=2, metavar="NUMBER", help="draw how one of the seed's faces turns into another")
    size = options.add_mutually_exclusive_group()
    size.add_argument("--pixels", type=int, help=f"enlarge single faces, pixel by pixel, to at least this (default: {SINGLE_FACE_PIXELS})")
    size.add_argument(
        "--native", dest="pixels", action="store_const", const=1, help="leave single faces at the network's own size, as scores need them"
    )
    options.add_argument("--out", type=Path, help="folder for the pictures (default: data/samples; faces/ with --face or --between)")
    run(sample, options.parse_args())
