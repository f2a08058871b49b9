"""Stage train: shards of images to a generator.

Writes data/model/ (generator.safetensors, progress/*.png), metrics/train.json and metrics/losses.csv. Killed or interrupted,
the same command goes on from its last checkpoint in .checkpoints/.
"""

import sys
from pathlib import Path

import command
from facegan.common import config
from facegan.models import read_model
from facegan.training.distributed import is_launched, join_world, launch, leave_world
from facegan.training.engine import choose_hardware
from facegan.training.loop import Folders, Interrupted, train
from facegan.training.run import TrainParameters


def main() -> None:
    """Reads the arguments and runs the stage."""
    parser = command.parser(__doc__)
    parser.add_argument("--shards", type=Path, default=command.ROOT / "data" / "shards", help="the images (default: data/shards)")
    parser.add_argument("--model", type=Path, default=command.ROOT / "data" / "model", help="where the generator goes (default: data/model)")
    parser.add_argument("--metrics", type=Path, default=command.ROOT / "metrics", help="where losses and figures go (default: metrics)")
    parser.add_argument("--checkpoints", type=Path, default=command.HOME / ".checkpoints", help="resumable state (default: .checkpoints)")
    parser.add_argument("--dry-run", action="store_true", help="say what would happen, and stop")
    command.run(run_stage, parser.parse_args())


def run_stage(arguments) -> None:
    """Trains, in as many processes as the parameters ask for."""
    model, parameters = config.read_sections(command.read_params(arguments.params), model=read_model, train=TrainParameters)
    if parameters.processes > 1 and not is_launched() and not arguments.dry_run:
        sys.exit(launch(parameters.processes))
    hardware = choose_hardware(parameters.device, parameters.precision, parameters.deterministic)
    folders = Folders(arguments.shards, arguments.model, arguments.metrics, arguments.checkpoints)
    if arguments.dry_run:
        from facegan.training.dry_run import dry_run

        print(dry_run(folders, model, parameters, hardware))
        return
    world = join_world(hardware.device)
    try:
        train(folders, model, parameters, hardware, world)
    except Interrupted as interruption:
        if world.is_main:
            print(f"{interruption}; a checkpoint is in {arguments.checkpoints}; the same command goes on from it", flush=True)
        sys.exit(interruption.status)
    finally:
        leave_world(world)
    if world.is_main:
        print(f"made {arguments.model / 'generator.safetensors'}, its progress pictures beside it, and {arguments.metrics / 'losses.csv'}")


if __name__ == "__main__":
    main()
