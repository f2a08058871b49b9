"""Looks at the real images once, for every later score: data/shards to data/reference."""

import command
import torch

from facegan import config
from facegan.evaluate import EvaluateParameters
from facegan.features import open_extractor
from facegan.protocol import name_frechet
from facegan.reference import make_reference


def stage(arguments):
    (parameters,) = config.read_sections(command.read_params(arguments.params), evaluate=EvaluateParameters)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = command.HOME / parameters.weights if parameters.weights else None
    extractor = open_extractor(parameters.extractor, weights, device)
    folder = command.ROOT / "data/reference"
    reference = make_reference(
        command.ROOT / "data/shards", folder, extractor, parameters.images, parameters.split, parameters.memory_images
    )
    name = name_frechet(extractor.space)
    print(f"{folder}: {reference.protocol.real} real images; {len(reference.train)} training images to seek neighbours among")
    if name in reference.floor:
        print(f"floor, {reference.floor['images']} real images against as many others: {name} {reference.floor[name]:.4g}")


if __name__ == "__main__":
    command.run(stage, command.parser(__doc__).parse_args())
