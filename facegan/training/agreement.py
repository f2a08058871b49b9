"""Comparing the processes of a run before its first step: a run must not mix parameters, code, data or checkpoints of several machines."""

import dataclasses
import socket
from typing import Any

import torch

from facegan.common.errors import FaceganError
from facegan.training.checkpoint import RunFolder
from facegan.training.processes import World


@dataclasses.dataclass(frozen=True)
class Member:
    """What one process would train, and how far its own disk has got."""

    host: str
    problem: str
    ingredients: dict[str, str]
    images_seen: int

    def name(self, rank: int) -> str:
        """Returns the process's name in a message."""
        return f"rank {rank} on {self.host}"


def check_agreement(world: World, problem: str, ingredients: dict[str, Any], run: RunFolder | None) -> None:
    """Compares all processes; each must call it.

    Args:
        problem: why this process cannot train, or "".
        ingredients: everything that the result depends on, by kind, as JSON values.
        run: the folder of the run's checkpoints on this process's disk; None where there was a problem.

    Raises:
        FaceganError: in all processes: a process that cannot train, processes that would train something else, or a process with a newer
            checkpoint than the main process.
    """
    images_seen = run.find_newest() if run else 0
    facts = {"torch": torch.__version__} | {name: repr(value) for name, value in flatten(ingredients).items()}
    member = Member(socket.gethostname(), problem, facts, images_seen)
    members = [Member(**facts) for facts in world.gather(dataclasses.asdict(member))]

    problems = [f"{other.name(rank)}: {other.problem}" for rank, other in enumerate(members) if other.problem]
    if problems:
        raise FaceganError(*problems)
    main = members[0]
    differences = [
        f"{name}: {main.ingredients.get(name, 'nothing')} on {main.name(0)}, {other.ingredients.get(name, 'nothing')} on {other.name(rank)}"
        for rank, other in enumerate(members)
        for name in sorted(main.ingredients.keys() | other.ingredients.keys())
        if main.ingredients.get(name) != other.ingredients.get(name)
    ]
    if differences:
        advice = "use the same parameters, code, data and packages on all machines (git pull, dvc pull, pip install)"
        raise FaceganError(f"expected processes that train the same; found {len(differences)} differences; {advice}", *differences)
    newest = max(range(len(members)), key=lambda rank: members[rank].images_seen)
    if members[newest].images_seen > main.images_seen:
        found = f"one at {members[newest].images_seen:,} images on {members[newest].name(newest)}"
        raise FaceganError(
            f"expected the newest checkpoint on {main.name(0)}, at {main.images_seen:,} images; found {found}; make that machine rank 0 or "
            "copy its .checkpoints folder to the machine of rank 0"
        )


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Returns nested dictionaries as one, with keys such as ``train.lr``."""
    if not isinstance(values, dict):
        return {prefix: values}
    result: dict[str, Any] = {}
    for name, value in values.items():
        result |= flatten(value, f"{prefix}.{name}".lstrip(".").removeprefix("parameters."))
    return result
