"""Label columns: what a photo is labelled with, and how labels become numbers.

In shards a label is the position of its value in its column (uint8). Networks get one-hot numbers, the columns next to each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple

from facegan.common.errors import FaceganError

if TYPE_CHECKING:  # imported where it is used: preprocessing writes labels without torch
    import torch
    from torch import Tensor


class Column(NamedTuple):
    """One column of labels.

    Attributes:
        name: such as ``Smiling`` or ``hair``.
        values: its values, as text; ``("0", "1")`` for a binary column.
        counts: how many training images have each value.
    """

    name: str
    values: tuple[str, ...]
    counts: tuple[int, ...]


def one_hot_size(columns: Sequence[Column]) -> int:
    """Returns the numbers of a one-hot label: the number of values of all columns."""
    return sum(len(column.values) for column in columns)


def encode(labels: Tensor, columns: Sequence[Column]) -> Tensor:
    """Returns labels (N, columns), positions of values, as one-hot numbers (N, values of all columns) in float32."""
    import torch

    parts = [torch.nn.functional.one_hot(part.long(), len(column.values)) for part, column in zip(labels.T, columns, strict=True)]
    return torch.cat(parts, 1).float() if parts else torch.zeros(len(labels), 0)


def decode(numbers: Tensor, columns: Sequence[Column]) -> list[dict[str, str]]:
    """Returns the values of one-hot numbers (N, values of all columns), by column; of blends the largest."""
    parts = numbers.split([len(column.values) for column in columns], 1)
    best = [part.argmax(1).tolist() for part in parts]
    return [{column.name: column.values[rows[n]] for column, rows in zip(columns, best, strict=True)} for n in range(len(numbers))]


def sample(columns: Sequence[Column], count: int, random: torch.Generator) -> Tensor:
    """Returns labels (count, columns), each value with its frequency in the training data, columns independently."""
    import torch

    draws = [torch.multinomial(torch.tensor(column.counts).double(), count, replacement=True, generator=random) for column in columns]
    return torch.stack(draws, 1)


def check(labels: Mapping[str, object], columns: Sequence[Column]) -> dict[str, int]:
    """Returns the position of each value by column, such as ``{"Smiling": 1}`` for ``{"Smiling": "1"}``.

    Raises:
        FaceganError: a column or value that does not exist.
    """
    names = {column.name: column for column in columns}
    result = {}
    for name, value in labels.items():
        if name not in names:
            raise FaceganError(f"label {name}: expected {_suggest(name, tuple(names)) or 'no labels: the generator was trained without'}")
        text, values = str(value), names[name].values
        if text not in values:
            raise FaceganError(f"label {name}: expected {_suggest(text, values)}; found {text}")
        result[name] = values.index(text)
    return result


def _suggest(found: str, choices: tuple[str, ...]) -> str:
    close = get_close_matches(found, choices, 1)
    return f"one of {', '.join(choices)}" + (f" (did you mean {close[0]}?)" if close else "") if choices else ""
