"""A head start: networks that an earlier run has trained, instead of random ones.

In: the model folder of an earlier run, with generator.safetensors and discriminator.safetensors. Out: this run's generator, its
average and its discriminator hold those weights. Everything else begins anew: optimisers, schedules, the counting of images. The
folder keeps the generator's average alone, so the generator starts from its own average.
"""

import os
from pathlib import Path

from facegan.common.errors import FaceganError, printable
from facegan.common.files import hash_file
from facegan.models.generator_file import Card, load_network
from facegan.models.parameters import ModelParameters
from facegan.models.registry import build_discriminator, build_generator
from facegan.training.networks import Networks

FILES = {"generator.safetensors": build_generator, "discriminator.safetensors": build_discriminator}


def read_start(folder: str, networks: Networks, model: ModelParameters, resolution: int) -> dict[str, str]:
    """Puts the weights of an earlier run into the networks. Returns the SHA-256 of its files, by name.

    Args:
        model, resolution: of this run; the earlier one's must be the same.

    Raises:
        FaceganError: a file that is missing or not one of ours, or that is of another architecture or resolution.
    """
    place = Path(os.path.expanduser(folder))  # unlike Path's own, it leaves ~name as it is where there is no such user
    loaded = {}
    for name, build in FILES.items():
        path = place / name
        if not path.is_file():
            raise FaceganError(
                f"train.start_from: expected the model folder of an earlier run, with {' and '.join(FILES)}; found no {printable(str(path))}; "
                "name such a folder, or null"
            )
        loaded[name], card = load_network(path, build)
        check_card(path, card, model, resolution)
    generator, discriminator = (network.state_dict() for network in loaded.values())
    networks.generator.load_state_dict(generator)
    networks.ema.load_state_dict(generator)
    networks.discriminator.load_state_dict(discriminator)
    return {name: hash_file(place / name) for name in FILES}


def check_card(path: Path, card: Card, model: ModelParameters, resolution: int) -> None:
    """Raises FaceganError, with all that differs, unless the file's network is of this run's architecture and resolution."""
    theirs = {"model.name": card.model, **{f"model.{name}": value for name, value in card.parameters if name != "name"}}
    ours = {f"model.{name}": value for name, value in model}
    theirs, ours = {**theirs, "preprocess.resolution": card.resolution}, {**ours, "preprocess.resolution": resolution}
    differing = [
        f"{name}: {theirs.get(name)}" for name in dict.fromkeys([*theirs, *ours]) if theirs.get(name) != ours.get(name) and name in theirs
    ]
    if differing:
        raise FaceganError(
            f"train.start_from: expected a run of this model and resolution in {printable(os.path.dirname(path))}; found another; "
            f"what fits it is {', '.join(differing)}"
        )
