"""Stage reference: computes the features of the real images, once for all later scores.

    python stages/reference.py [--shards data/shards] [--out data/reference]

Reads the section `evaluate` of params.yaml. Writes the features of the real images, the structure space that is fitted to them, and the
floor: their distances from other real images.
"""

import argparse
from pathlib import Path

import command
from facegan.parameters import read_parameters


def main(arguments: argparse.Namespace) -> None:
    """Reads the parameters and makes the reference."""
    from facegan.scoring.extractors import name_frechet, open_extractor
    from facegan.scoring.reference import make_reference
    from facegan.scoring.structure import NAME

    parameters = read_parameters(arguments.params).evaluate
    extractor = open_extractor(parameters.extractor, command.HOME / parameters.weights if parameters.weights else None)
    reference = make_reference(arguments.shards, arguments.out, extractor, parameters.images, parameters.memorisation_images)
    print(f"{arguments.out}: {reference.protocol.real:,} real images; {len(reference.train):,} training images in the memorisation test")
    names = (name_frechet(extractor.space), name_frechet(NAME))
    if all(name in reference.floor for name in names):
        distances = ", ".join(f"{name} {reference.floor[name]:.4g}" for name in names)
        print(f"floor, {reference.floor['images']:,} real images against as many others: {distances}")


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--shards", type=Path, default=command.ROOT / "data/shards", help="the images (default: data/shards)")
    parser.add_argument("--out", type=Path, default=command.ROOT / "data/reference", help="the output folder (default: data/reference)")
    command.run(main, parser.parse_args())
