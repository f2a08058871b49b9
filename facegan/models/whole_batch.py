"""What belongs to a whole batch, where one forward pass has a piece of it before it.

A batch may be shared by several processes, and a process may take its share in pieces that fit into memory. Whatever is random
or a statistic then still has to be that of the whole batch, so that the outcome does not depend on how it was cut: random
numbers are drawn for all of it, and each piece reads those at its own place.

Outside ``see_piece`` the images at hand are the whole batch.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, distributed
from torch.nn import functional


@dataclasses.dataclass
class Piece:
    """The images ``start`` to ``stop`` of a batch of ``whole``.

    Attributes:
        drawn: random numbers of the whole batch in the order of drawing. The first piece of a process draws, the others read.
        is_first: of its process's share.
        is_repeat: the same images went through the same network before, and only a derivative is wanted now.
        read: how many of ``drawn`` have been read.
        rows: which of its images are at hand, one after the other.
    """

    start: int
    stop: int
    whole: int
    drawn: list[Tensor] | None = None
    is_first: bool = True
    is_repeat: bool = False
    read: int = 0
    rows: tuple[slice, ...] = (slice(None),)

    def count(self) -> int:
        """Returns how many images are at hand."""
        return sum(len(range(self.stop - self.start)[rows]) for rows in self.rows)


_piece: Piece | None = None


@contextlib.contextmanager
def see_piece(piece: Piece) -> Iterator[None]:
    """Within this context the networks have that piece before them."""
    global _piece
    before, _piece = _piece, piece
    try:
        yield
    finally:
        _piece = before


@contextlib.contextmanager
def see_rows(*rows: slice) -> Iterator[None]:
    """Within this context the networks have only those images of the piece before them, one slice after the other."""
    if _piece is None:
        yield
        return
    before, _piece.rows = _piece.rows, rows
    try:
        yield
    finally:
        _piece.rows = before


def count_whole_batch(count: int) -> int:
    """Returns how many images the whole batch has, where ``count`` are at hand."""
    return count if _piece is None else _piece.whole


def is_first() -> bool:
    """Returns whether no other piece of this process's share came before."""
    return _piece is None or _piece.is_first


def is_repeat() -> bool:
    """Returns whether the same images went through the same network before, and only a derivative is wanted now."""
    return _piece is not None and _piece.is_repeat


def draw(make: Callable[[int], Tensor], count: int, dim: int = 0) -> Tensor:
    """Returns random numbers for the ``count`` images at hand.

    Args:
        make: draws them for so many images.
        dim: which dimension of the result counts images.
    """
    if _piece is None:
        return make(count)
    if count != _piece.count():
        raise ValueError(f"expected numbers for {_piece.count()} images, those at hand; found {count}")
    if _piece.drawn is None:
        numbers = make(_piece.whole)
    else:
        if _piece.read == len(_piece.drawn):
            _piece.drawn.append(make(_piece.whole))
        numbers = _piece.drawn[_piece.read]
        _piece.read += 1
    numbers = numbers.narrow(dim, _piece.start, _piece.stop - _piece.start)
    if len(_piece.rows) == 1 and count == _piece.stop - _piece.start:
        return numbers
    return torch.cat([numbers[(slice(None),) * dim + (rows,)] for rows in _piece.rows], dim)


def is_shared() -> bool:
    """Returns whether several processes share a batch."""
    return distributed.is_available() and distributed.is_initialized()


class SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Its derivative is the sum of theirs, so it can be differentiated any number of times."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(context: object, slopes: Tensor) -> Tensor:
        return SumOverProcesses.apply(slopes)


def gather(values: Tensor) -> Tensor:
    """Returns the values (B, …) of the whole batch, of the values (B / processes, …) that each process has of its share."""
    if _piece is None or not is_shared():
        return values
    margins = [0, 0] * (values.ndim - 1) + [_piece.start, _piece.whole - _piece.stop]
    return SumOverProcesses.apply(functional.pad(values, margins))


def narrow(values: Tensor) -> Tensor:
    """Returns of values (B, …) of the whole batch those of the images at hand."""
    return values if _piece is None else values[_piece.start : _piece.stop]
