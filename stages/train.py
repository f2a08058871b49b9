"""Stage train: shards of images to a generator.

    python stages/train.py               # what dvc repro runs: data/shards to data/model
    python stages/train.py --dry-run     # prints networks, steps, estimated time and memory; needs no data, writes nothing
    python stages/train.py --self-test   # whether training works on this device, and how fast; for reports of problems
    python stages/train.py --finish      # writes generator, pictures and metrics of a stopped run's last checkpoint

Reads the sections `model` and `train` of params.yaml. Writes generator.safetensors, discriminator.safetensors and progress pictures to
the model's folder, and train.json and losses.csv to the metrics' folder. After a kill or an interruption, the same command resumes from
the last checkpoint; with a larger train.images it continues from the end of the shorter run.
"""

import argparse
import os
import socket
import sys
from pathlib import Path

import command
from facegan.common.errors import FaceganError
from facegan.common.files import discard
from facegan.common.signals import Interrupted
from facegan.parameters import read_parameters
from facegan.training.agreement import check_agreement
from facegan.training.hardware import choose_hardware
from facegan.training.launcher import LAUNCHED, check_processes, is_launched, is_lost_connection, join_world, launch, leave_world
from facegan.training.loop import CHECKPOINT_SECONDS, prepare, train
from facegan.training.parameters import TrainParameters
from facegan.training.processes import World
from facegan.training.resume import Folders, finish

MORE_MEMORY = (
    "set train.microbatch to a small number such as 8, which splits a batch into pieces of 8 images with the same result; "
    "or lower train.batch or model.width"
)


def main(arguments: argparse.Namespace) -> None:
    """Trains, in as many processes as the parameters ask for."""
    if arguments.remove_checkpoints:
        from facegan.training.cleanup import remove_checkpoints

        print(*remove_checkpoints(arguments.checkpoints) or ["no checkpoints"], sep="\n")
        return
    parameters = read_parameters(arguments.params)
    alone = arguments.dry_run or arguments.finish or arguments.self_test
    if parameters.train.processes > 1 and not is_launched() and not alone:
        check_processes(parameters.train.processes, parameters.train.device)
        sys.exit(launch(parameters.train.processes))
    hardware = choose_hardware(parameters.train.device, parameters.train.precision, parameters.train.cuda_graph)
    train_parameters = resolve_start(parameters.train)
    if arguments.self_test:
        from facegan.training.self_test import self_test

        sys.exit(0 if self_test(parameters.model, train_parameters, parameters.preprocess.resolution, hardware) else 1)
    folders = Folders(arguments.shards, arguments.model, arguments.metrics, arguments.checkpoints)
    if arguments.dry_run:
        from facegan.training.dry_run import dry_run

        print(dry_run(folders, parameters.model, train_parameters, parameters.preprocess.resolution, hardware, open_quick_score))
        return
    if not arguments.model.exists() and not alone:  # DVC has removed the earlier model; if this training fails, its scores would stay
        discard(arguments.metrics / "evaluate.json")
    world = World() if alone else join_world(hardware.device)
    try:
        check_agreement(world, "", {"train": {"images": train_parameters.images}}, None)  # which is not among a run's ingredients
        trainer, run = prepare(folders, parameters.model, train_parameters, hardware, world, open_quick_score)
        if arguments.finish:
            finish(trainer, run, folders)
        else:
            train(trainer, run, folders, arguments.checkpoint_seconds, arguments.accept_code_change)
    except Interrupted as interruption:
        if world.is_main:
            print(f"{interruption}; a checkpoint is in {arguments.checkpoints}; the same command resumes from it", flush=True)
        sys.exit(interruption.status)
    except RuntimeError as error:
        if world.size == 1 or not is_lost_connection(error):
            raise
        if LAUNCHED in os.environ:  # the launcher reports the process that has ended
            sys.exit(1)
        found = f"rank {world.rank} on {socket.gethostname()} has lost the connection to another process"
        raise FaceganError(f"expected {world.size} processes; {found}, which has printed why it ended; the same command resumes") from None
    finally:
        leave_world(world)
    if world.is_main:
        made = f"{arguments.model / 'generator.safetensors'}, progress pictures next to it, and {arguments.metrics / 'losses.csv'}"
        print(f"wrote {made}, after {trainer.images_seen:,} images")
    if arguments.finish:
        print("to continue the run, use the same command without --finish; for scores and pictures of this state with DVC:")
        print(f"    dvc exp run -S train.images={trainer.images_seen}")


def resolve_start(parameters: TrainParameters) -> TrainParameters:
    """Returns the parameters with the full path of ``start_from``: in this copy of the project, else in the user's own."""
    if parameters.start_from is None:
        return parameters
    places = [root / os.path.expanduser(parameters.start_from) for root in (command.ROOT, command.HOME)]
    place = next((place for place in places if place.exists()), places[-1])
    return parameters.model_copy(update={"start_from": str(place)})


def open_quick_score(*arguments):
    """Returns a ``QuickScore`` with these arguments.

    It is passed to training, which does not import scoring, so a change there does not invalidate trained generators.
    """
    from facegan.scoring.quick_score import QuickScore

    return QuickScore(*arguments)


if __name__ == "__main__":
    parser = command.parser(__doc__)
    root = command.ROOT
    parser.add_argument("--shards", type=Path, default=root / "data/shards", help="the images (default: data/shards)")
    parser.add_argument("--model", type=Path, default=root / "data/model", help="output folder of the generator (default: data/model)")
    parser.add_argument(
        "--metrics", type=Path, default=root / "metrics", help="folder of losses.csv, quick_scores.csv and train.json (default: metrics)"
    )
    parser.add_argument("--checkpoints", type=Path, default=command.HOME / ".checkpoints", help="resumable state (default: .checkpoints)")
    parser.add_argument(
        "--checkpoint-seconds",
        type=float,
        default=CHECKPOINT_SECONDS,
        help="seconds between two checkpoints, at least (default: %(default)s)",
    )
    parser.add_argument("--accept-code-change", action="store_true", help="resume a run although the code has changed since it started")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="print what would happen, and exit")
    instead.add_argument("--self-test", action="store_true", help="train for some seconds and print whether that works here, and how fast")
    removes = "remove all checkpoints except those of running trainings, and list them; stopped runs then start over"
    instead.add_argument("--remove-checkpoints", action="store_true", help=removes)
    instead.add_argument("--finish", action="store_true", help="write the results of a stopped run's last checkpoint, without training")
    command.run(main, parser.parse_args(), MORE_MEMORY)
