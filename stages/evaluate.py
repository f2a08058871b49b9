"""Scores data/model/generator.safetensors against the real images. Writes metrics/evaluate.json and a sheet of neighbours."""

import json
from pathlib import Path

import command
import torch

from facegan import config
from facegan.evaluate import EvaluateParameters, draw_neighbours, evaluate
from facegan.features import open_extractor
from facegan.pictures import save_png
from facegan.protocol import name_frechet
from facegan.reference import read_reference
from facegan.weights import load_generator


def stage(arguments):
    (parameters,) = config.read_sections(command.read_params(arguments.params), evaluate=EvaluateParameters)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator, card = load_generator(arguments.model, device)
    weights = command.HOME / parameters.weights if parameters.weights else None
    extractor = open_extractor(parameters.extractor, weights, device)
    reference = read_reference(command.ROOT / "data/reference", device)
    report, features = evaluate(generator, reference, extractor, parameters.images, parameters.seed)
    report["images_seen"] = card.images_seen
    untrained = command.ROOT / "metrics/untrained.json"
    if untrained.is_file():
        report["untrained"] = json.loads(untrained.read_text())
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    save_png(arguments.sheet, draw_neighbours(generator, features, reference, command.ROOT / "data/shards", parameters.seed))
    print_summary(report, name_frechet(extractor.space))
    print(f"{arguments.out}: scores and protocol; {arguments.sheet}: nearest neighbours")


def print_summary(report, name):
    ends = [f"{end} {report[end][name]:.4g}" for end in ("floor", "untrained") if name in report.get(end, {})]
    interval = report["another_seed_95"][name]
    print(f"{name} {report[name]:.4g}, another seed within ±{interval:.2g} ({', '.join(ends)}); protocol {report['protocol']['fingerprint']}")
    if "memory" in report:
        memory = report["memory"]
        verdict = "it replays training images" if memory["caught"] else "no sign of replayed training images"
        print(f"memory: {memory['share']:.2f} ({memory['low']:.2f} to {memory['high']:.2f}; fresh images: 0.5 or less): {verdict}")


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--model", type=Path, default=command.ROOT / "data/model/generator.safetensors", help="the generator to score")
    parser.add_argument("--out", type=Path, default=command.ROOT / "metrics/evaluate.json", help="where the scores go")
    parser.add_argument("--sheet", type=Path, default=command.ROOT / "data/evaluation/neighbours.png", help="where the neighbours go")
    command.run(stage, parser.parse_args())
