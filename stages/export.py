"""Exports a generator as a folder: weights, ONNX, a page that draws faces offline, a model card, two scripts.

    python stages/export.py                                          # data/model's generator, to data/export
    python stages/export.py --model any.safetensors --out any        # any generator

The folder is ready for the Hugging Face hub. Exporting needs the packages in requirements-studio.txt, which "make export" installs.
"""

import argparse
from pathlib import Path

import command


def main(arguments: argparse.Namespace) -> None:
    """Exports, and prints a remark about each file."""
    from facegan.export.folder import export

    for remark in export(arguments.model, arguments.out, command.ROOT):
        print(remark)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    options = command.parser(__doc__)
    options.add_argument(
        "--model", type=Path, default=command.ROOT / "data/model/generator.safetensors", help="a generator (default: the pipeline's)"
    )
    options.add_argument("--out", type=Path, default=command.ROOT / "data/export", help="the folder (default: data/export)")
    command.run(main, options.parse_args())
