"""Scores an untrained generator, once for each model and protocol: the upper end of every score. Writes metrics/untrained.json."""

import json

import command
import torch

from facegan import config
from facegan.evaluate import EvaluateParameters, evaluate
from facegan.features import open_extractor
from facegan.models import build_generator, read_model
from facegan.protocol import name_frechet
from facegan.reference import read_reference


def stage(arguments):
    params = command.read_params(arguments.params)
    (parameters,) = config.read_sections(params, evaluate=EvaluateParameters)
    name, model_arguments = read_model(params)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    weights = command.HOME / parameters.weights if parameters.weights else None
    extractor = open_extractor(parameters.extractor, weights, device)
    reference = read_reference(command.ROOT / "data/reference", device)
    torch.manual_seed(parameters.seed)
    generator = build_generator(name, reference.protocol.resolution, model_arguments).to(device).eval()
    report, _ = evaluate(generator, reference, extractor, parameters.images, parameters.seed)
    scores = {key: value for key, value in report.items() if isinstance(value, float)}
    path = command.ROOT / "metrics/untrained.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**scores, "fingerprint": report["protocol"]["fingerprint"]}, indent=1) + "\n")
    frechet = name_frechet(extractor.space)
    print(f"{path}: an untrained {name} scores {frechet} {scores[frechet]:.4g}")


if __name__ == "__main__":
    command.run(stage, command.parser(__doc__).parse_args())
