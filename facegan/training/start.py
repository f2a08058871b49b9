"""Starting from the networks of an earlier run instead of random ones.

In: the model folder of an earlier run, with generator.safetensors and discriminator.safetensors. Out: this run's generator, EMA and
discriminator have those weights. Everything else starts over: optimizers, schedules, images seen. The folder contains only the EMA of the
generator, so the generator starts from its own average.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file
from facegan.models.generator_file import Card, load_network
from facegan.models.parameters import ModelParameters
from facegan.models.registry import build_discriminator, build_generator

if TYPE_CHECKING:
    from facegan.training.trainer import Trainer

FILES = {"generator.safetensors": build_generator, "discriminator.safetensors": build_discriminator}


def read_start(folder: str, trainer: Trainer, model: ModelParameters, resolution: int) -> dict[str, str]:
    """Loads an earlier run's weights into the networks. Returns the SHA-256 of its files, by name.

    Args:
        model, resolution: of this run; the earlier one's must be the same.

    Raises:
        FaceganError: a file that is missing or was not written by facegan, or another architecture or resolution.
    """
    place = Path(os.path.expanduser(folder))  # unlike Path.expanduser, it keeps ~name if there is no such user
    loaded = {}
    for name, build in FILES.items():
        path = place / name
        if not path.is_file():
            raise FaceganError(
                f"train.start_from: expected the model folder of an earlier run, with {' and '.join(FILES)}; "
                f"found no {printable(str(path))}; use such a folder, or null"
            )
        loaded[name], card = load_network(path, build)
        check_card(path, card, model, resolution)
        if card.labels and [(column.name, column.values) for column in card.labels.columns] != [
            (column.name, column.values) for column in trainer.labels.columns
        ]:
            raise FaceganError(
                f"train.start_from: expected a run without labels, or with the same columns and values; found {printable(str(path))} with "
                f"{', '.join(column.name for column in card.labels.columns)}; change data.labels, or start from another run"
            )
    generator, discriminator = (network.state_dict() for network in loaded.values())
    # weights of labels that the earlier run did not have stay zero
    for network, weights in ((trainer.generator, generator), (trainer.ema, generator), (trainer.discriminator, discriminator)):
        network.load_state_dict({**network.state_dict(), **weights})
    return {name: hash_file(place / name) for name in FILES}


def check_card(path: Path, card: Card, model: ModelParameters, resolution: int) -> None:
    """Raises FaceganError, with all differences, unless the file's network has this run's architecture and resolution."""
    theirs = {"model.name": card.model, **{f"model.{name}": value for name, value in card.parameters if name != "name"}}
    ours = {f"model.{name}": value for name, value in model}
    theirs, ours = {**theirs, "preprocess.resolution": card.resolution}, {**ours, "preprocess.resolution": resolution}
    grown = [len(values.pop("model.grow_images", ())) for values in (theirs, ours)]  # only how often is part of the architecture
    differing = [
        f"{name}: {theirs.get(name)}" for name in dict.fromkeys([*theirs, *ours]) if theirs.get(name) != ours.get(name) and name in theirs
    ]
    if not differing and grown[0] != grown[1]:
        differing = [f"model.grow_images: {grown[0]} numbers (zeros for networks that have grown)"]
    if differing:
        raise FaceganError(
            f"train.start_from: expected a run of this model and resolution in {printable(os.path.dirname(path))}; found another; "
            f"use the values of that run: {', '.join(differing)}"
        )
