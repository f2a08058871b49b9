"""Stage evaluate: scores a generator against the real images, and records the protocol.

    python stages/evaluate.py                                       # as run by dvc repro: data/model to metrics/evaluate.json
    python stages/evaluate.py --model any.safetensors --metrics any.json --out any    # any generator, the same real images
    python stages/evaluate.py --pictures FOLDER_OR_ZIP              # images from any generator, with the real images' size
    python stages/evaluate.py --pictures FOLDER_OR_ZIP --against FOLDER_OR_ZIP        # against other real images

Reads the section `evaluate` of params.yaml. The metrics file contains at most a dozen numbers. The output folder contains report.json with
everything else (intervals, the floor, an untrained generator, the memorisation test, the share of images with a face, the protocol), and
neighbours.png with the generated faces nearest to training images. The scores of --pictures are printed; they are written only to --metrics
and --out.
"""

import argparse
from pathlib import Path

import command
from facegan.parameters import read_parameters


def main(arguments: argparse.Namespace) -> None:
    """Scores a generator or a set of images."""
    (evaluate_generator if arguments.pictures is None else evaluate_pictures)(arguments)


def evaluate_generator(arguments: argparse.Namespace) -> None:
    """Scores the generator and writes the metrics, the report and the neighbours."""
    from facegan.common.files import discard, write_json, write_sealed_json
    from facegan.common.pictures import save_png
    from facegan.common.shards import read_index
    from facegan.models.generator_file import load_generator
    from facegan.models.provenance import compare_with_project
    from facegan.scoring.evaluate import describe, draw_neighbours, evaluate, summarise
    from facegan.scoring.extractors import open_extractor
    from facegan.scoring.reference import check_shards, read_reference

    metrics, out = arguments.metrics or command.ROOT / "metrics/evaluate.json", arguments.out or command.ROOT / "data/evaluation"
    experiment = read_parameters(arguments.params)
    parameters = experiment.evaluate
    for path in (metrics, out / "report.json", out / "neighbours.png"):
        discard(path)  # a failure must not leave results of an earlier call
    extractor = open_extractor(parameters.extractor, command.HOME / parameters.weights if parameters.weights else None)
    generator, card = load_generator(arguments.model, extractor.device)
    for note in compare_with_project(arguments.model, card, experiment.as_plain(), command.ROOT / "metrics"):
        print(note)
    reference = read_reference(arguments.reference, extractor.device)
    check_shards(reference, read_index(arguments.shards), arguments.shards)
    report, features = evaluate(generator, card, reference, arguments.shards, extractor, parameters)
    write_sealed_json(out / "report.json", report)
    sheet = draw_neighbours(generator, features, reference, arguments.shards, parameters)
    save_png(out / "neighbours.png", sheet, card.mark.replace("generated images and the nearest real ones", composite=True))
    write_json(metrics, summarise(report, extractor.space))
    print(describe(report, extractor.space))
    print(f"{metrics}: the scores\n{out}: report.json, and neighbours.png with the nearest training and held-out images")


def evaluate_pictures(arguments: argparse.Namespace) -> None:
    """Scores a set of images, prints the scores, and writes them to --metrics and --out."""
    from facegan.common.files import write_json, write_sealed_json
    from facegan.scoring.evaluate import describe, summarise
    from facegan.scoring.extractors import open_extractor
    from facegan.scoring.picture_scores import check_same_size, extract_pictures, score_pictures
    from facegan.scoring.reference import read_reference

    parameters = read_parameters(arguments.params).evaluate
    extractor = open_extractor(parameters.extractor, command.HOME / parameters.weights if parameters.weights else None)
    against = arguments.against
    reference = None if against else read_reference(arguments.reference, extractor.device)
    check_same_size(arguments.pictures, (reference.protocol.resolution,) * 2 if reference else against)
    real = reference or extract_pictures(against, "--against", extractor)
    report = score_pictures(extract_pictures(arguments.pictures, "--pictures", extractor), real, extractor, parameters.seed)
    print("\n".join(f"{name}: {value:.6g}" for name, value in report["generated"].items()))
    protocol = report["protocol"]
    print(f"{protocol['generated']:,} images against {protocol['real']:,} real images, protocol {protocol['fingerprint']}")
    print(describe(report, extractor.space))
    if arguments.metrics:
        write_json(arguments.metrics, summarise(report, extractor.space))
    if arguments.out:
        write_sealed_json(arguments.out / "report.json", report)


if __name__ == "__main__":
    parser, root = command.parser(__doc__), command.ROOT
    scored = parser.add_mutually_exclusive_group()
    generator = root / "data/model/generator.safetensors"
    scored.add_argument("--model", type=Path, default=generator, help="the generator (default: data/model/generator.safetensors)")
    scored.add_argument("--pictures", type=Path, metavar="FOLDER_OR_ZIP", help="score all these images instead of a generator")
    parser.add_argument("--against", type=Path, metavar="FOLDER_OR_ZIP", help="the real images for --pictures (default: the reference)")
    reference = root / "data/reference"
    parser.add_argument("--reference", type=Path, default=reference, help="the real images' features (default: data/reference)")
    parser.add_argument("--shards", type=Path, default=root / "data/shards", help="the real images (default: data/shards)")
    parser.add_argument("--metrics", type=Path, help="file for the scores (default: metrics/evaluate.json; with --pictures: none)")
    parser.add_argument("--out", type=Path, help="folder for the report (default: data/evaluation; with --pictures: none)")
    arguments = parser.parse_args()
    if arguments.against and not arguments.pictures:
        parser.error("--against needs --pictures")
    command.run(main, arguments)
