"""Stage download: photos from the source in the parameters to data/raw.

    python stages/download.py [--out data/raw]

Reads the section `data` of params.yaml. Writes one archive, or a list of the photos in a folder, manifest.json and, with `data.labels`,
labels.json.
"""

import argparse
from pathlib import Path

import command
from facegan.common.errors import printable
from facegan.parameters import read_parameters
from facegan.photos.sources import download


def main(arguments: argparse.Namespace) -> None:
    parameters = read_parameters(arguments.params).data
    manifest = download(parameters, arguments.out, command.HOME)
    where = printable(manifest.folder or str(arguments.out / str(manifest.archive)))
    print(f"{manifest.images:,} photos ({manifest.bytes / 1e6:,.1f} MB) in {where}; listed in {arguments.out / 'manifest.json'}")
    if manifest.left_out:
        print(f"skipped files: {manifest.describe_left_out()}")
    print(f"licence: {manifest.license}")
    if not str(command.HOME).isascii():  # DVC writes the path to a file that must be ASCII
        print("note: DVC cannot run `dvc exp run --temp` or `dvc queue start` here; move the project to a path without accents to use them")


if __name__ == "__main__":
    parser = command.parser(__doc__)
    parser.add_argument("--out", type=Path, default=command.ROOT / "data/raw", help="output folder (default: data/raw)")
    command.run(main, parser.parse_args())
