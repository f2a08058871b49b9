"""Prints how far it is from the training loop to a network, and which files one training step runs through.

    python benchmarks/step_path.py [PRESET]

One step of a preset with small networks runs under a profiler. The calls are the project's own stack frames from the loop to a network's
``forward``. The files are those of facegan/training with a function that runs in a step, and the loop's.
"""

import argparse
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.common.config import read_values, read_yaml  # noqa: E402 (the path above must come first)
from facegan.models.network import Network  # noqa: E402
from facegan.parameters import Parameters  # noqa: E402
from facegan.training.dry_run import describe_placeholder  # noqa: E402
from facegan.training.hardware import choose_hardware  # noqa: E402
from facegan.training.trainer import Trainer  # noqa: E402


def main(preset: str) -> None:
    """Traces the second step, so that nothing is set up any more, and prints the result."""
    values = read_yaml(ROOT / "presets" / f"{preset}.yaml")
    values["model"]["width"] = 16
    values["train"] |= {"device": "cpu", "batch": 8, "processes": 1, "start_from": None}
    parameters = read_values(Parameters, values, preset)
    images = torch.zeros((32, 3, *2 * [parameters.preprocess.resolution]), dtype=torch.uint8)
    trainer = Trainer(describe_placeholder(images), [images], parameters.model, parameters.train, choose_hardware("cpu", "fp32"))
    trainer.train_step()

    files, chains = {ROOT / "facegan/training/loop.py"}, set()

    def trace(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT / "facegan"):
            return
        chain = []
        below: FrameType | None = frame
        while below is not None:
            if Path(below.f_code.co_filename).is_relative_to(ROOT / "facegan"):
                chain.append(below)
            below = below.f_back
        inside = [one for one in chain if one.f_code.co_name == "forward" and isinstance(one.f_locals.get("self"), Network)]
        if not inside and path.is_relative_to(ROOT / "facegan/training"):
            files.add(path)
        elif inside and inside[-1] is frame:
            chains.add(tuple(one.f_code.co_qualname for one in reversed(chain)))

    sys.setprofile(trace)
    trainer.train_step()
    sys.setprofile(None)

    longest = max(chains, key=len)
    print(f"{len(longest)} calls from the loop to a network: run_loop → {' → '.join(longest)}")
    sizes = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in sorted(files)}
    print(f"{len(sizes)} files, {sum(sizes.values()):,} lines: {', '.join(f'{name} {lines}' for name, lines in sizes.items())}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="celeba64_r3gan", help="one of presets/*.yaml (default: celeba64_r3gan)")
    main(parser.parse_args().preset)
