"""Looks at the real images once, for every later score: data/shards to data/reference."""

import argparse

from command import HOME, ROOT, parser, read_params, run
from facegan.common.config import read_sections
from facegan.scoring.protocol import EvaluateParameters

FOLDER = ROOT / "data/reference"


def look_at_real_images(arguments: argparse.Namespace) -> None:
    from facegan.scoring.extractors import name_frechet, open_extractor
    from facegan.scoring.reference import make_reference

    (parameters,) = read_sections(read_params(arguments.params), evaluate=EvaluateParameters)
    extractor = open_extractor(parameters.extractor, parameters.weights and HOME / parameters.weights)
    reference = make_reference(ROOT / "data/shards", FOLDER, extractor, parameters.images, parameters.split, parameters.memorisation_images)
    print(f"{FOLDER}: {reference.protocol.real:,} real images; {len(reference.train):,} training images to seek neighbours among")
    name = name_frechet(extractor.space)
    if name in reference.floor:
        print(f"the floor, {reference.floor['images']:,} real images against as many others: {name} {reference.floor[name]:.4g}")


if __name__ == "__main__":
    run(look_at_real_images, parser(__doc__).parse_args())
