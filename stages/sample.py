"""Stage sample: draws faces, a grid and a walk from a generator, and writes a report on its quality and its training.

python stages/sample.py                                          # as run by dvc repro: data/model to data/samples
python stages/sample.py --model any.safetensors --out faces      # any generator
python stages/sample.py --face 12 40 --seed 3                    # faces 12 and 40 of seed 3, to faces/
python stages/sample.py --between 12 40 --seed 3                 # one turns into the other and back, to faces/
python stages/sample.py --verify face.png                        # whether a picture shows faces of a generator, and which
python stages/sample.py --label glasses=dark --out glasses       # faces with a label, of a generator that was trained with labels
python stages/sample.py --between 12 12 --label hair=black --to-label hair=red   # one face, from one label to the other
"""

import argparse
import dataclasses
import sys
from pathlib import Path

from command import ROOT, parser, run
from facegan.common.config import read_values
from facegan.common.devices import find_device
from facegan.common.errors import FaceganError
from facegan.common.files import discard
from facegan.common.labels import check
from facegan.common.pictures import save_png
from facegan.models.generator_file import load_generator
from facegan.models.provenance import compare_with_project
from facegan.parameters import read_parameters
from facegan.sampling.animations import BLEND_FACE_PIXELS, draw_blend, draw_progress, draw_walk
from facegan.sampling.chart_library import write_chart_library
from facegan.sampling.curves import draw_losses
from facegan.sampling.faces import SINGLE_FACE_PIXELS, check_numbers, draw_chosen, draw_faces
from facegan.sampling.label_sheet import draw_label_sheet
from facegan.sampling.parameters import SampleParameters
from facegan.sampling.report import Sources, write_report
from facegan.sampling.verification import SEARCHED, verify

LARGEST_PIXELS = 4096
MODEL, PRETRAINED = ROOT / "data/model", ROOT / "pretrained"


def sample(arguments: argparse.Namespace) -> None:
    """Draws single faces with --face or --between, verifies a picture with --verify, and otherwise draws all outputs of the stage."""
    chosen = {name: getattr(arguments, name) for name in ("seed", "count") if getattr(arguments, name) is not None}
    experiment = read_parameters(arguments.params)
    parameters = read_values(SampleParameters, {**experiment.sample.model_dump(), **chosen}, "the command line")
    if arguments.pixels is not None and not 1 <= arguments.pixels <= LARGEST_PIXELS:
        raise FaceganError(f"expected --pixels from 1 to {LARGEST_PIXELS:,}; found {arguments.pixels}; choose another size")
    check_numbers([*(arguments.face or []), *(arguments.between or [])])
    if arguments.verify:
        model = find_model(arguments.model) if arguments.model else None
        known = [
            path for path in (find_model(MODEL), MODEL / "best.safetensors", *sorted(PRETRAINED.glob("*.safetensors"))) if path.is_file()
        ]
        search = parameters.model_copy(update={"count": arguments.count or SEARCHED})
        is_recognised, lines = verify(arguments.verify, model, known, search, read_labels(arguments.label))
        print(*lines, sep="\n")
        sys.exit(not is_recognised)
    model = arguments.model or MODEL
    path = find_model(model)
    generator, card = load_generator(path, find_device())
    print(f"{path}: {card.model}, {card.resolution} px, after {card.images_seen:,} training images (counting repeats)")
    for note in compare_with_project(path, card, experiment.as_plain(), arguments.losses.parent):
        print(note)
    labels = read_labels(arguments.label)
    given, to = (check(values, generator.labels.columns) for values in (labels, read_labels(arguments.to_label)))
    mark = dataclasses.replace(card.mark, labels=labels)
    if arguments.face or arguments.between:
        out = arguments.out or ROOT / "faces"
        if arguments.face:
            pixels = arguments.pixels or SINGLE_FACE_PIXELS
            print(*draw_chosen(generator, parameters, arguments.face, out, pixels, given, mark), sep="\n")
        if arguments.between:
            pixels = arguments.pixels or BLEND_FACE_PIXELS
            print(draw_blend(generator, parameters, tuple(arguments.between), out, pixels, (given, {**given, **to}), mark))
        return

    out = arguments.out or ROOT / "data/samples"
    for name in ("progress.gif", "losses.png", "labels.png", "vega.js"):  # an earlier call may have written them for another model
        discard(out / name)
    draw_faces(generator, parameters, out, arguments.pixels or SINGLE_FACE_PIXELS, given, mark)
    draw_walk(generator, parameters, out, given, mark)
    pictures = {"grid": out / "grid.png", "walk": out / "walk.webp"}
    if generator.labels.columns:
        pictures["labels"] = out / "labels.png"
        save_png(pictures["labels"], draw_label_sheet(generator, parameters), card.mark.replace("faces with other labels"))
    sources = Sources()
    if model.is_dir():
        sources = Sources(model / "training.json", arguments.losses, arguments.quick_scores, arguments.evaluation, arguments.manifest)
        write_chart_library(out)
        if arguments.losses.is_file():
            draw_losses(arguments.losses, out)
        if any((model / "progress").glob("*.png")):
            draw_progress(model / "progress", out, card.mark)
            pictures["progress"] = out / "progress.gif"
    write_report(out, card, parameters.as_plain(), pictures, sources)
    print(f"{out}: report.html shows everything; {parameters.count} faces in {out / 'faces'}")


def find_model(path: Path) -> Path:
    """Returns the generator's file."""
    return path / "generator.safetensors" if path.is_dir() else path


def read_labels(pairs: list[str]) -> dict[str, str]:
    """Returns values by column, from texts such as ``hair=black``."""
    for pair in pairs:
        if "=" not in pair:
            raise FaceganError(f"--label: expected COLUMN=VALUE, such as Smiling=1; found {pair}")
    return dict(pair.split("=", 1) for pair in pairs)


if __name__ == "__main__":
    options = parser(__doc__)
    model = "the folder written by training, a generator.safetensors, or a checkpoint, even of a running training (default: data/model)"
    options.add_argument("--model", type=Path, help=model)
    curves, scores = ROOT / "metrics/losses.csv", ROOT / "metrics/quick_scores.csv"
    options.add_argument(
        "--losses", type=Path, default=curves, help="training curves, if --model is a folder (default: metrics/losses.csv)"
    )
    options.add_argument("--quick-scores", type=Path, default=scores, help="the curve of quick scores (default: metrics/quick_scores.csv)")
    options.add_argument("--evaluation", type=Path, default=ROOT / "data/evaluation", help="the scores' report (default: data/evaluation)")
    manifest = "the manifest of the photos, whose licence the report states (default: data/raw/manifest.json)"
    options.add_argument("--manifest", type=Path, default=ROOT / "data/raw/manifest.json", help=manifest)
    options.add_argument("--seed", type=int, help="of the faces (default: sample.seed)")
    options.add_argument("--count", type=int, help="number of single faces (default: sample.count)")
    face = "draw only these faces of the seed; a face's number is in its file name"
    options.add_argument("--face", type=int, nargs="+", metavar="NUMBER", help=face)
    options.add_argument("--between", type=int, nargs=2, metavar="NUMBER", help="draw how one of the seed's faces turns into another")
    verified = "report which generator's faces a picture shows: those in its mark, or of the first --count of --seed; exit status 1: none"
    options.add_argument("--verify", type=Path, metavar="FILE", help=verified)
    label = "only faces with this label; may be repeated (other labels are drawn as often as in the training data)"
    options.add_argument("--label", action="append", default=[], metavar="COLUMN=VALUE", help=label)
    options.add_argument("--to-label", action="append", default=[], metavar="COLUMN=VALUE", help="with --between: of the second face")
    size = options.add_mutually_exclusive_group()
    size.add_argument(
        "--pixels", type=int, help=f"enlarge single faces to at least this size by repeating pixels (default: {SINGLE_FACE_PIXELS})"
    )
    native = "keep single faces at the network's resolution, as required for scoring"
    size.add_argument("--native", dest="pixels", action="store_const", const=1, help=native)
    options.add_argument("--out", type=Path, help="folder for the images (default: data/samples; with --face or --between: faces)")
    run(sample, options.parse_args())
