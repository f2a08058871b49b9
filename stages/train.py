"""Stage train: shards of images to a generator.

    python stages/train.py               # what dvc repro runs: data/shards to data/model
    python stages/train.py --dry-run     # says what it would be: networks, steps, time, memory; needs no data

Reads the sections `model` and `train` of params.yaml. Leaves generator.safetensors and pictures of its progress in the model's
folder, train.json and losses.csv in the metrics'. Killed or interrupted, the same command goes on from its last checkpoint.
"""

import argparse
import sys
from pathlib import Path

import command
from facegan.parameters import read_parameters
from facegan.training.distributed import check_processes, is_launched, join_world, launch, leave_world
from facegan.training.engine import choose_hardware
from facegan.training.loop import CHECKPOINT_SECONDS, Folders, Interrupted, train

MORE_MEMORY = (
    "set train.microbatch to a small number such as 8, which takes a batch in pieces of so many images to the same outcome; "
    "or lower train.batch or model.width"
)


def main(arguments: argparse.Namespace) -> None:
    """Trains, in as many processes as the parameters ask for."""
    parameters = read_parameters(arguments.params)
    if parameters.train.processes > 1 and not is_launched() and not arguments.dry_run:
        check_processes(parameters.train.processes, parameters.train.device)
        sys.exit(launch(parameters.train.processes))
    hardware = choose_hardware(parameters.train.device, parameters.train.precision, parameters.train.cuda_graph)
    folders = Folders(arguments.shards, arguments.model, arguments.metrics, arguments.checkpoints)
    if arguments.dry_run:
        from facegan.training.dry_run import dry_run

        print(dry_run(folders, parameters.model, parameters.train, parameters.preprocess.resolution, hardware, open_quick_score))
        return
    world = join_world(hardware.device)
    try:
        train(folders, parameters.model, parameters.train, hardware, world, arguments.checkpoint_seconds, open_quick_score)
    except Interrupted as interruption:
        if world.is_main:
            print(f"{interruption}; a checkpoint is in {arguments.checkpoints}; the same command goes on from it", flush=True)
        sys.exit(interruption.status)
    finally:
        leave_world(world)
    if world.is_main:
        print(f"made {arguments.model / 'generator.safetensors'}, its progress pictures beside it, and {arguments.metrics / 'losses.csv'}")


def open_quick_score(*arguments):
    """Returns a ``QuickScore`` with these arguments.

    Training gets it handed in, and so knows nothing of scoring: a change there leaves every trained generator as it is.
    """
    from facegan.scoring.quick_score import QuickScore

    return QuickScore(*arguments)


if __name__ == "__main__":
    parser = command.parser(__doc__)
    root = command.ROOT
    parser.add_argument("--shards", type=Path, default=root / "data/shards", help="the images (default: data/shards)")
    parser.add_argument("--model", type=Path, default=root / "data/model", help="where the generator goes (default: data/model)")
    parser.add_argument("--metrics", type=Path, default=root / "metrics", help="where losses and figures go (default: metrics)")
    parser.add_argument("--checkpoints", type=Path, default=command.HOME / ".checkpoints", help="resumable state (default: .checkpoints)")
    parser.add_argument("--checkpoint-seconds", type=float, default=CHECKPOINT_SECONDS, help="between two checkpoints, at least (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and stop")
    command.run(main, parser.parse_args(), MORE_MEMORY)
