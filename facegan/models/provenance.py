"""Whether a generator, the metrics and the parameters of a project belong to one run.

Input: a generator's file and card, the current parameters, the folder of the metrics. Output: notes. After a Git or DVC command that
restored only some of these files, the others are of another run.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facegan.common.errors import printable
from facegan.common.files import read_sealed_values
from facegan.models.generator_file import Card

REMEDY = "to use files of one run: dvc checkout, or dvc repro"
MOST_LISTED = 5


def compare_with_project(path: Path, card: Card, parameters: Mapping[str, Mapping[str, Any]], metrics: Path) -> list[str]:
    """Returns a note for each part of a project that belongs to another run than a generator.

    Args:
        path: the generator's file; without a training.json next to it, as for a published generator, there is nothing to compare.
        parameters: the current sections ``model`` and ``train``, as JSON values.
        metrics: the folder with train.json.

    Raises:
        FaceganError: a damaged training.json.
    """
    record = path.parent / "training.json"
    if not record.is_file() or path.name != "generator.safetensors":
        return []
    training = read_sealed_values(record, "run the stage train again")
    notes = []
    if training.get("images_seen") != card.images_seen:
        notes.append(f"note: {record} is from another run than {path.name}; {REMEDY}")
    made_with = training.get("parameters", {})
    differing = [
        f"{section}.{name}: {printable(str(value))[:40]} there, {parameters[section].get(name)} now"
        for section in ("model", "train")
        for name, value in made_with.get(section, {}).items()
        if parameters[section].get(name) != value
    ]
    if differing:
        more = f" and {len(differing) - MOST_LISTED} more" if len(differing) > MOST_LISTED else ""
        notes.append(f"note: {path.parent} was trained with other parameters ({'; '.join(differing[:MOST_LISTED])}{more}); {REMEDY}")
    with contextlib.suppress(OSError, ValueError, AttributeError):
        seen = json.loads((metrics / "train.json").read_text()).get("images_seen")
        if seen != card.images_seen:
            notes.append(f"note: {metrics / 'train.json'} is from another run, of {seen} images, not {card.images_seen:,}; {REMEDY}")
    return notes
