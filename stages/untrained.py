"""Scores an untrained generator, once for each model and protocol: the upper end of every score. Writes metrics/untrained.json."""

import argparse
import json

from command import HOME, ROOT, parser, read_params, run
from facegan.common.config import as_plain, read_sections
from facegan.models import build_generator, describe_model, read_model
from facegan.scoring.protocol import EvaluateParameters

OUT = ROOT / "metrics/untrained.json"


def score_untrained(arguments: argparse.Namespace) -> None:
    import torch

    from facegan.scoring.evaluate import evaluate
    from facegan.scoring.extractors import name_frechet, open_extractor
    from facegan.scoring.reference import read_reference

    parameters, (model, model_arguments) = read_sections(read_params(arguments.params), evaluate=EvaluateParameters, model=read_model)
    extractor = open_extractor(parameters.extractor, parameters.weights and HOME / parameters.weights)
    reference = read_reference(ROOT / "data/reference", extractor.device)
    torch.manual_seed(parameters.seed)
    generator = build_generator(model, reference.protocol.resolution, model_arguments).to(extractor.device).eval()
    report, _ = evaluate(generator, reference, extractor, parameters)
    scores = {name: value for name, value in report.items() if isinstance(value, float)}
    OUT.parent.mkdir(exist_ok=True)
    described = describe_model(model, dict(as_plain(model_arguments)))
    OUT.write_text(json.dumps({**scores, "model": described, "fingerprint": report["protocol"]["fingerprint"]}, indent=1) + "\n")
    name = name_frechet(extractor.space)
    print(f"{OUT}: an untrained {described} scores {name} {scores[name]:.4g}")


if __name__ == "__main__":
    run(score_untrained, parser(__doc__).parse_args())
