"""Stage evaluate: the scores of a generator against the real images, with the protocol they were taken under.

    python stages/evaluate.py                                       # what dvc repro runs: data/model to metrics/evaluate.json
    python stages/evaluate.py --model any.safetensors --metrics any.json --out any    # any generator, the same real images

Reads the section `evaluate` of params.yaml. The metrics hold a dozen numbers; report.json in the output folder holds the rest
(intervals, the floor, an untrained generator, the memorisation test, the protocol) beside neighbours.png, the generated faces that
come nearest to training images.
"""

import argparse
from pathlib import Path

import command
from facegan.parameters import read_parameters


def main(arguments: argparse.Namespace) -> None:
    """Reads the parameters, scores the generator and writes what was found."""
    from facegan.common.files import write_json
    from facegan.common.pictures import save_png
    from facegan.models.generator_file import load_generator
    from facegan.scoring.evaluate import describe, draw_neighbours, evaluate, summarise
    from facegan.scoring.extractors import open_extractor
    from facegan.scoring.reference import read_reference

    parameters = read_parameters(arguments.params).evaluate
    extractor = open_extractor(parameters.extractor, parameters.weights and command.HOME / parameters.weights)
    generator, card = load_generator(arguments.model, extractor.device)
    reference = read_reference(arguments.reference, extractor.device)
    report, features = evaluate(generator, card, reference, extractor, parameters)
    write_json(arguments.out / "report.json", report)
    save_png(arguments.out / "neighbours.png", draw_neighbours(generator, features, reference, arguments.shards, parameters))
    write_json(arguments.metrics, summarise(report, extractor.space))
    print(describe(report, extractor.space))
    print(f"{arguments.metrics}: the scores\n{arguments.out}: report.json, and neighbours.png with the nearest training and held-out images")


if __name__ == "__main__":
    parser = command.parser(__doc__)
    root = command.ROOT
    parser.add_argument("--model", type=Path, default=root / "data/model/generator.safetensors", help="the generator (default: the pipeline's)")
    parser.add_argument("--reference", type=Path, default=root / "data/reference", help="the real images' features (default: data/reference)")
    parser.add_argument("--shards", type=Path, default=root / "data/shards", help="the real images (default: data/shards)")
    parser.add_argument("--metrics", type=Path, default=root / "metrics/evaluate.json", help="where the scores go (default: metrics/evaluate.json)")
    parser.add_argument("--out", type=Path, default=root / "data/evaluation", help="where report and picture go (default: data/evaluation)")
    command.run(main, parser.parse_args())
