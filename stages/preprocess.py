"""Stage preprocess: crops and resizes the photos in data/raw, and writes shards.

    python stages/preprocess.py [--raw data/raw] [--out data/shards] [--workers 4]
    python stages/preprocess.py --scheduler tcp://host:8786 [--results s3://bucket/path]      # on many machines

Reads the section `preprocess` of params.yaml. Writes shards, index.json, report.json (skipped photos and the reasons), preview.png
(25 training images, spread evenly), with labels preview_labels.png (some of each value) and, with `crop: face`, faces.png (photos with the
detected faces). A run that was killed resumes: the results for the photos so far are in data/.shards-results, which can be deleted at any
time. Many machines: docs/howto/many-machines.md.
"""

import argparse
import os
from pathlib import Path

import command
from facegan.parameters import read_parameters
from facegan.preprocessing.preprocess import preprocess


def main(arguments: argparse.Namespace) -> None:
    parameters = read_parameters(arguments.params).preprocess
    is_inside = arguments.out.is_relative_to(command.ROOT)
    lasting = command.HOME / arguments.out.relative_to(command.ROOT) if is_inside else arguments.out  # ROOT may be an experiment's copy
    results = arguments.results or lasting.with_name(f".{lasting.name}-results")
    result = preprocess(arguments.raw, parameters, arguments.out, arguments.workers, results, command.HOME, arguments.scheduler)
    index = result.index
    print(f"{index.train:,} training images of {index.resolution} px and {index.holdout:,} held out, in {arguments.out}")
    print(f"look at {arguments.out / 'preview.png'}; report.json lists what was skipped")
    for line in result.advice:
        print(line)


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--raw", type=Path, default=command.ROOT / "data/raw", help="folder with the photos (default: data/raw)")
    parser.add_argument("--out", type=Path, default=command.ROOT / "data/shards", help="output folder (default: data/shards)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="number of processes (default: one per core)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, whose workers to use instead: tcp://host:8786")
    parser.add_argument("--results", help="where to keep the results so far: a folder, or s3://bucket/path (default: data/.shards-results)")
    command.run(main, parser.parse_args(), more_memory="close other programs, or use fewer --workers")
