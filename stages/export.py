"""Writes a folder that a generator can leave in: weights, ONNX, a page that draws faces by itself, a model card, two scripts.

    python stages/export.py                                          # data/model's generator, to data/export
    python stages/export.py --model any.safetensors --out any        # any generator

The Hugging Face hub takes the folder as it is. Needs the packages in requirements-studio.txt: .venv-studio/bin/python has them after make studio.
"""

import argparse
from pathlib import Path

import command


def main(arguments: argparse.Namespace) -> None:
    """Exports, and says what is there."""
    from facegan.export.folder import export

    for line in export(arguments.model, arguments.out, command.ROOT):
        print(line)
    print(f"made {arguments.out}")


if __name__ == "__main__":
    options = command.parser(__doc__)
    options.add_argument(
        "--model", type=Path, default=command.ROOT / "data/model/generator.safetensors", help="a generator (default: the pipeline's)"
    )
    options.add_argument("--out", type=Path, default=command.ROOT / "data/export", help="the folder (default: data/export)")
    command.run(main, options.parse_args())
