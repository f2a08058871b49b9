"""Photos to shards: crop, resize and file every photo of data/raw for training.

    python stages/preprocess.py [--raw data/raw] [--out data/shards] [--workers 4]

Reads the section `preprocess` of params.yaml. Leaves shards, index.json, report.json (what was left out, and why), preview.png
(25 training pictures, spread evenly) and, with `crop: face`, faces.png (photos with what was found in them) in the output folder.
"""

import argparse
import os
from pathlib import Path

import command
from facegan.parameters import read_parameters
from facegan.preprocessing.preprocess import preprocess


def main(arguments: argparse.Namespace) -> None:
    parameters = read_parameters(arguments.params).preprocess
    result = preprocess(arguments.raw, parameters, arguments.out, arguments.workers)
    print(
        f"{result.index.train:,} pictures of {result.index.resolution} px to train on and {result.index.holdout:,} held out, in {arguments.out}; "
        f"look at {arguments.out / 'preview.png'}; what was left out stands in report.json"
    )
    for line in result.advice:
        print(line)


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--raw", type=Path, default=command.ROOT / "data/raw", help="the photos (default: data/raw)")
    parser.add_argument("--out", type=Path, default=command.ROOT / "data/shards", help="where the shards go (default: data/shards)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    command.run(main, parser.parse_args())
