"""Label columns: what a photo is labelled with, and how labels become numbers.

In shards a label is the position of its value in its column (uint8). Networks get one-hot numbers, those of all columns next to each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, model_validator

from facegan.common.config import suggest
from facegan.common.errors import FaceganError
from facegan.common.files import PrintableText

if TYPE_CHECKING:  # imported where it is used: preprocessing works without torch
    from torch import Generator, Tensor

MOST_VALUES = 64  # of one column
MOST_COMBINATIONS = 1000  # that a generator remembers; the rarest are forgotten
Count = Annotated[int, Ge(0)]


class Column(BaseModel):
    """One column of labels.

    Attributes:
        name: such as ``Smiling`` or ``hair``.
        values: its values, as text; ``("0", "1")`` for a binary column.
        counts: how many training images have each value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: PrintableText
    values: Annotated[tuple[PrintableText, ...], Len(2, MOST_VALUES)]
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def has_a_count_per_value(self) -> Column:
        """Rejects values without a count, and repeated values."""
        if len(self.counts) != len(self.values) or len(set(self.values)) != len(self.values):
            raise ValueError("different values with a count each")
        return self


class Labels(BaseModel):
    """What a generator knows about labels.

    Attributes:
        columns: the columns.
        combinations: the combinations of values in the training data, the most frequent first: positions of values, then the count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Column, ...] = ()
    combinations: tuple[tuple[Count, ...], ...] = ()

    @model_validator(mode="after")
    def has_combinations_of_its_values(self) -> Labels:
        """Rejects combinations of values that do not exist, and columns without any combination."""
        limits = self.sizes
        if bool(limits) != bool(self.combinations) or any(
            len(row) != len(limits) + 1 or any(position >= limit for position, limit in zip(row, limits, strict=False)) or not row[-1]
            for row in self.combinations
        ):
            raise ValueError("combinations of the columns' values, each with a count")
        return self

    @property
    def sizes(self) -> list[int]:
        """The number of values of each column."""
        return [len(column.values) for column in self.columns]

    @property
    def size(self) -> int:
        """The length of a one-hot label: the number of values of all columns."""
        return sum(self.sizes)


NO_LABELS = Labels()


def summarize(columns: Sequence[Column], labels: Tensor) -> Labels:
    """Returns the columns and combinations of labels (N, columns), uint8 positions of values."""
    if not columns:
        return NO_LABELS
    counts = Counter(map(tuple, labels.tolist()))
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_COMBINATIONS]
    return Labels(columns=tuple(columns), combinations=tuple((*positions, count) for positions, count in rows))


def encode(labels: Tensor, columns: Sequence[Column]) -> Tensor:
    """Returns labels (N, columns), positions of values, as one-hot numbers (N, values of all columns) in float32."""
    import torch

    parts = [torch.nn.functional.one_hot(part.long(), len(column.values)) for part, column in zip(labels.T, columns, strict=True)]
    return torch.cat(parts, 1).float() if parts else torch.zeros(len(labels), 0, device=labels.device)


def replace(numbers: Tensor, columns: Sequence[Column], given: Mapping[str, int]) -> Tensor:
    """Returns one-hot numbers (N, values of all columns) with other values. ``given``: positions of values by column."""
    result, start = numbers.clone(), 0
    for column in columns:
        if column.name in given:
            result[:, start : start + len(column.values)] = 0
            result[:, start + given[column.name]] = 1
        start += len(column.values)
    return result


def find_positions(numbers: Tensor, columns: Sequence[Column]) -> Tensor:
    """Returns labels (N, columns), positions of values, of one-hot numbers (N, values of all columns); of a blend, the largest."""
    import torch

    return torch.stack([part.argmax(1) for part in numbers.split([len(column.values) for column in columns], 1)], 1)


def decode(numbers: Tensor, columns: Sequence[Column]) -> list[dict[str, str]]:
    """Returns the values of one-hot numbers (N, values of all columns), by column; of a blend, the largest."""
    rows = find_positions(numbers, columns).tolist()
    return [{column.name: column.values[place] for column, place in zip(columns, row, strict=True)} for row in rows]


def draw(labels: Labels, given: Mapping[str, int], count: int, random: Generator) -> Tensor:
    """Returns labels (count, columns): combinations with their frequency in the training data, among those with the given values.

    Args:
        given: positions of values by column; see ``check``. Where no training image had them together, only the other columns' values
            are drawn from the combinations.
    """
    import torch

    rows = torch.tensor(labels.combinations)  # (M, columns + 1)
    fits = torch.ones(len(rows), dtype=torch.bool)
    numbers = {column.name: number for number, column in enumerate(labels.columns)}
    for name, position in given.items():
        fits &= rows[:, numbers[name]] == position
    shares = (rows[:, -1] * (fits if fits.any() else 1)).double().cumsum(0)
    chosen = torch.searchsorted(shares, torch.rand(count, generator=random, dtype=torch.float64) * shares[-1], right=True)
    result = rows[chosen.clamp(max=len(rows) - 1), :-1].clone()
    for name, position in given.items():
        result[:, numbers[name]] = position
    return result


def check(given: Mapping[str, object], columns: Sequence[Column]) -> dict[str, int]:
    """Returns the position of each value by column, such as ``{"Smiling": 1}`` for ``{"Smiling": "1"}``.

    Raises:
        FaceganError: a column or value that does not exist.
    """
    names = {column.name: column for column in columns}
    if given and not names:
        raise FaceganError(f"label {next(iter(given))}: expected no labels, since the generator was trained without; remove it")
    result = {}
    for name, value in given.items():
        if name not in names:
            raise FaceganError(f"expected a label among {', '.join(names)}; found {name}{suggest(name, names)}")
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if text not in names[name].values:
            raise FaceganError(f"label {name}: expected {', '.join(names[name].values)}; found {text}{suggest(text, names[name].values)}")
        result[name] = names[name].values.index(text)
    return result
