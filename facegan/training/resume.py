"""Resuming a run: waiting for its lock, loading its newest checkpoint, and rewinding after infinite or NaN losses."""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from facegan.common.errors import FaceganError
from facegan.common.progress import Progress
from facegan.common.signals import Interrupted, Interruption
from facegan.models.generator_file import write_card
from facegan.training.checkpoint import RunFolder
from facegan.training.history import complete, count_end, is_due, is_over
from facegan.training.outcome import save_picture, write_outcome
from facegan.training.processes import World
from facegan.training.trainer import COLUMNS, Trainer

LOCK_SECONDS = 0.5  # between two attempts to take a lock
MAX_REWINDS = 3  # per run


@dataclasses.dataclass(frozen=True)
class Folders:
    """Where training reads and writes."""

    shards: Path
    model: Path
    metrics: Path
    checkpoints: Path


def wait_for_lock(world: World, run: RunFolder | None, interruption: Interruption) -> None:
    """Waits until no other process trains the same run; its result is then used. All processes wait together.

    Raises:
        Interrupted: a signal.
    """
    has_printed = False
    while True:
        is_taken, signal = world.agree(int(run is not None and not run.acquire()), interruption.check())
        if signal:
            raise Interrupted(signal)
        if not is_taken:
            return
        if run and not has_printed:
            print(f"another process is training the same run; waiting for its result (checkpoints in {run.path})", flush=True)
            has_printed = True
        time.sleep(LOCK_SECONDS)


def restore(trainer: Trainer, run: RunFolder | None, accept_code_change: bool) -> None:
    """Loads the newest checkpoint, or writes the first, and prints which. All processes get the same state."""
    if run:
        end = count_end(trainer.parameters)
        check = functools.partial(find_fault, trainer)
        state, messages = run.load(check, end)
        other = run.find_with_other_code() if state is None and accept_code_change else None
        if other:
            state, more = run.load_other(other.name, check, end)
            messages += more
        print(*messages, sep="\n", end="\n" * bool(messages))
        if state:
            trainer.load_state_dict(state)
            if other:
                trainer.code_changes.append({"run": other.name, "at_images_seen": trainer.images_seen})
                run.save(trainer.state_dict())
            where = f"{trainer.images_seen:,} of {end:,} images from {other or run.path}"
            print(f"already trained: {where}" if is_over(trainer) else f"resumed at {where}", flush=True)
            if trainer.images_seen and is_due(trainer, trainer.parameters.progress_images):
                run.keep_as_good()  # a kill may have come between the checkpoint and this
        else:
            print(run.describe_others() or f"a new run; checkpoints in {run.path}", flush=True)
            save_picture(run.picture(0), trainer)
            run.save(trainer.state_dict())
            run.keep_as_good()
    share_state(trainer)


def find_fault(trainer: Trainer, state: dict[str, Any]) -> str | None:
    """Returns why the trainer cannot load a state, which may come from anywhere, or None."""
    own = trainer.state_dict()
    for name, value in own.items():
        if not isinstance(state.get(name), int | None if name == "microbatch" else type(value)):
            return f"expected a checkpoint of this run; found another ({name})"
    if state["card"] != write_card(trainer.make_card(state["images_seen"])):
        return "expected a checkpoint of this run; found another run's"
    if not all(isinstance(row, dict) and row.keys() == set(COLUMNS) for row in state["rows"]):
        return "expected a checkpoint of this run; found another (rows)"
    for name, value in own["tensors"].items():
        theirs = state["tensors"].get(name)
        if not isinstance(theirs, Tensor) or theirs.shape != value.shape:
            return f"expected a checkpoint of this run; found another ({name})"
    return None


def share_state(trainer: Trainer) -> None:
    """Copies the main process's state to all processes, except the best weights, which only the main process writes."""
    tensors, best = trainer.tensors(), trainer.best
    facts = {key: value for key, value in trainer.state_dict().items() if key not in ("tensors", "best")}
    facts = trainer.world.broadcast(facts, tensors.values())
    trainer.load_state_dict({"tensors": tensors, "best": best, **facts})


def rewind(trainer: Trainer, run: RunFolder | None, progress: Progress) -> None:
    """Restores the last good state and continues with other random numbers; a few times per run.

    Raises:
        FaceganError: it has happened too often.
    """
    rewinds = [*trainer.rewinds, {"at_images_seen": trainer.images_seen}]
    if len(rewinds) > MAX_REWINDS:
        raise FaceganError(
            f"expected finite losses; found infinite or NaN ones at {trainer.images_seen:,} images, after {len(rewinds) - 1} rewinds; "
            "lower train.lr, or set train.precision to fp32, or train.penalty to r1 with train.gamma 1"
        )
    if run:
        trainer.load_state_dict(run.load_good())
        trainer.rewinds = rewinds
        rewinds[-1]["to_images_seen"] = trainer.images_seen
        run.save(trainer.state_dict())
    share_state(trainer)
    progress.add(trainer.images_seen - progress.done)
    rewinds = trainer.rewinds
    progress.say(
        f"losses were infinite or NaN at {rewinds[-1]['at_images_seen']:,} images: rewound to {trainer.images_seen:,} images, "
        f"continuing with other random numbers ({len(rewinds)} of at most {MAX_REWINDS} times)"
    )


def finish(trainer: Trainer, run: RunFolder | None, folders: Folders) -> None:
    """Writes the results of a stopped run's last checkpoint; the run can still be resumed.

    Raises:
        FaceganError: no such run, or another process is training it.
    """
    if not run or not run.path.exists() or not run.acquire():
        found = "one that another process is training" if run and run.path.exists() else "none with these parameters, code and data"
        raise FaceganError(f"expected a stopped run in {folders.checkpoints}; found {found}; run train without --finish")
    try:
        if not any(run.path.glob("state*.ckpt")):
            raise FaceganError(f"expected a stopped run in {run.path}; found a finished one; run train without --finish to use its result")
        state, messages = run.load(functools.partial(find_fault, trainer), end=None)
        print(*messages, sep="\n", end="\n" * bool(messages))
        if state is None or not state["images_seen"]:
            raise FaceganError(f"expected a checkpoint after at least one step in {run.path}; found none; run train without --finish")
        trainer.load_state_dict(state)
        complete(trainer)
        write_outcome(trainer, run, folders.model, folders.metrics)
    finally:
        run.release()
