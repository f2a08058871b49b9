"""Scores a generator against the real images, and shows the training images that its faces come nearest to.

    python stages/evaluate.py                                                    # what dvc repro runs: data/model -> metrics
    python stages/evaluate.py --model any.safetensors --out any.json --sheet any.png    # any generator, the same real images
"""

import argparse
import json
from pathlib import Path
from typing import Any

from command import HOME, ROOT, parser, read_params, run
from facegan.common.config import read_sections
from facegan.scoring.protocol import EvaluateParameters

UNTRAINED = ROOT / "metrics/untrained.json"


def score(arguments: argparse.Namespace) -> None:
    from facegan.common.pictures import save_png
    from facegan.models import describe_model
    from facegan.models.generator_file import load_generator
    from facegan.scoring.evaluate import draw_neighbours, evaluate
    from facegan.scoring.extractors import name_frechet, open_extractor
    from facegan.scoring.reference import read_reference

    (parameters,) = read_sections(read_params(arguments.params), evaluate=EvaluateParameters)
    extractor = open_extractor(parameters.extractor, parameters.weights and HOME / parameters.weights)
    generator, card = load_generator(arguments.model, extractor.device)
    reference = read_reference(ROOT / "data/reference", extractor.device)
    report, features = evaluate(generator, reference, extractor, parameters)
    report["images_seen"] = card.images_seen
    untrained = json.loads(UNTRAINED.read_text()) if UNTRAINED.is_file() else {}
    same = (describe_model(card.model, card.arguments), report["protocol"]["fingerprint"])
    if (untrained.get("model"), untrained.get("fingerprint")) == same:
        report["untrained"] = untrained
    else:
        print(f"{UNTRAINED} tells of another model or protocol, or is missing; python stages/untrained.py makes this one's")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    save_png(arguments.sheet, draw_neighbours(generator, features, reference, ROOT / "data/shards", parameters))
    describe(report, name_frechet(extractor.space))
    print(f"{arguments.out}: scores and protocol\n{arguments.sheet}: nearest training and held-out images")


def describe(report: dict[str, Any], name: str) -> None:
    """Prints the distance between its two ends, and what the memorisation test says."""
    ends = [f"{end} {report[end][name]:.4g}" for end in ("floor", "untrained") if name in report.get(end, {})]
    print(f"{name} {report[name]:.4g}, another seed within ±{report['another_seed_95'][name]:.2g} ({', '.join(ends)})")
    if "memorisation" not in report:
        print("too few held-out images to tell whether it replays training images")
    else:
        memorisation, nearest = report["memorisation"], report["memorisation"]["nearest_is_training"]
        verdict = "it replays training images" if memorisation["caught"] else "no sign of replayed training images"
        print(f"nearest real image is a training image: {nearest['share']:.2f}, expected {memorisation['expected']:.2f}: {verdict}")


if __name__ == "__main__":
    command_line = parser(__doc__)
    command_line.add_argument("--model", type=Path, default=ROOT / "data/model/generator.safetensors", help="the generator to score")
    command_line.add_argument("--out", type=Path, default=ROOT / "metrics/evaluate.json", help="where the scores go")
    command_line.add_argument("--sheet", type=Path, default=ROOT / "data/evaluation/neighbours.png", help="where the neighbours go")
    run(score, command_line.parse_args())
