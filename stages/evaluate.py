"""Stage evaluate: the scores of a generator against the real images, with the protocol they were taken under.

    python stages/evaluate.py                                       # what dvc repro runs: data/model to metrics/evaluate.json
    python stages/evaluate.py --model any.safetensors --metrics any.json --out any    # any generator, the same real images
    python stages/evaluate.py --pictures FOLDER_OR_ZIP              # pictures of any generator's, at the real images' size
    python stages/evaluate.py --pictures FOLDER_OR_ZIP --against FOLDER_OR_ZIP        # against other real images

Reads the section `evaluate` of params.yaml. The metrics hold a dozen numbers; report.json in the output folder holds the rest
(intervals, the floor, an untrained generator, the memorisation test, in how many pictures a face is found, the protocol) beside
neighbours.png, the generated faces that come nearest to training images. Scores of pictures are printed, and written where --metrics and --out say.
"""

import argparse
from pathlib import Path

import command
from facegan.parameters import read_parameters


def main(arguments: argparse.Namespace) -> None:
    """Scores what the command line names."""
    (evaluate_generator if arguments.pictures is None else evaluate_pictures)(arguments)


def evaluate_generator(arguments: argparse.Namespace) -> None:
    """Reads the parameters, scores the generator and writes what was found."""
    from facegan.common.files import discard, write_json
    from facegan.common.pictures import save_png
    from facegan.common.shards import read_index
    from facegan.models.generator_file import load_generator
    from facegan.scoring.evaluate import describe, describe_data, draw_neighbours, evaluate, summarise
    from facegan.scoring.extractors import open_extractor
    from facegan.scoring.reference import check_shards, read_reference

    metrics, out = arguments.metrics or command.ROOT / "metrics/evaluate.json", arguments.out or command.ROOT / "data/evaluation"
    parameters = read_parameters(arguments.params).evaluate
    for path in (
        metrics,
        out / "report.json",
        out / "neighbours.png",
    ):  # an earlier call's: whatever happens now, nobody takes them for this one's
        discard(path)
    extractor = open_extractor(parameters.extractor, parameters.weights and command.HOME / parameters.weights)
    generator, card = load_generator(arguments.model, extractor.device)
    reference = read_reference(arguments.reference, extractor.device)
    check_shards(reference, read_index(arguments.shards), arguments.shards)
    report, features = evaluate(generator, card, reference, arguments.shards, extractor, parameters)
    write_json(out / "report.json", report)
    save_png(out / "neighbours.png", draw_neighbours(generator, features, reference, arguments.shards, parameters))
    write_json(metrics, summarise(report, extractor.space))
    print(describe(report, extractor.space))
    print(describe_data(report), end="\n" * bool(describe_data(report)))
    print(f"{metrics}: the scores\n{out}: report.json, and neighbours.png with the nearest training and held-out images")


def evaluate_pictures(arguments: argparse.Namespace) -> None:
    """Reads the parameters, scores the pictures, prints what was found and writes it where the command line says."""
    from facegan.common.files import write_json
    from facegan.scoring.evaluate import describe, describe_distance, summarise
    from facegan.scoring.extractors import open_extractor
    from facegan.scoring.picture_scores import extract_pictures, score_pictures
    from facegan.scoring.reference import read_reference

    parameters = read_parameters(arguments.params).evaluate
    extractor = open_extractor(parameters.extractor, parameters.weights and command.HOME / parameters.weights)
    against = arguments.against
    real = extract_pictures(against, "--against", extractor) if against else read_reference(arguments.reference, extractor.device)
    report = score_pictures(extract_pictures(arguments.pictures, "--pictures", extractor), real, extractor, parameters.seed)
    print("\n".join(f"{name}: {value:.6g}" for name, value in report["generated"].items()))
    print(
        f"{report['protocol']['generated']:,} pictures against {report['protocol']['real']:,} real images, protocol {report['protocol']['fingerprint']}"
    )
    print((describe_distance if against else describe)(report, extractor.space))
    if arguments.metrics:
        write_json(arguments.metrics, summarise(report, extractor.space))
    if arguments.out:
        write_json(arguments.out / "report.json", report)


if __name__ == "__main__":
    parser = command.parser(__doc__)
    root = command.ROOT
    scored = parser.add_mutually_exclusive_group()
    scored.add_argument(
        "--model", type=Path, default=root / "data/model/generator.safetensors", help="the generator (default: the pipeline's)"
    )
    scored.add_argument("--pictures", type=Path, metavar="FOLDER_OR_ZIP", help="score all these pictures instead of a generator")
    parser.add_argument("--against", type=Path, metavar="FOLDER_OR_ZIP", help="the real images, with --pictures (default: the reference)")
    parser.add_argument(
        "--reference", type=Path, default=root / "data/reference", help="the real images' features (default: data/reference)"
    )
    parser.add_argument("--shards", type=Path, default=root / "data/shards", help="the real images (default: data/shards)")
    parser.add_argument("--metrics", type=Path, help="where the scores go (default: metrics/evaluate.json; for pictures, nowhere)")
    parser.add_argument("--out", type=Path, help="where report and picture go (default: data/evaluation; for pictures, nowhere)")
    arguments = parser.parse_args()
    if arguments.against and not arguments.pictures:
        parser.error("--against needs --pictures")
    command.run(main, arguments)
