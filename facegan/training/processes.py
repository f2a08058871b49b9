"""Several processes that train together: ranks, averaged gradients, common decisions.

Every process holds both networks and processes its share of each batch. Before an optimizer step all processes average their gradients in
one flat all-reduce, so all take the same step. Unlike DistributedDataParallel's hooks, this is exact with gradient penalties.
"""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed


@dataclasses.dataclass(frozen=True)
class World:
    """The processes that train together.

    Attributes:
        rank, size: this process's number, and how many there are.
        control: the group for decisions, on the CPU.
        operations: how many collective operations this process has started, in a list of one number.
    """

    rank: int = 0
    size: int = 1
    control: Any = None
    operations: list[int] = dataclasses.field(default_factory=lambda: [0])

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """Returns the rows of a batch that this process handles."""
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over all processes, in one all-reduce."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self.average(flat)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [piece.view_as(gradient) for piece, gradient in zip(pieces, gradients, strict=True)])

    def average(self, values: Tensor) -> Tensor:
        """Replaces the values by their mean over all processes, and returns them."""
        if self.size > 1:
            self.operations[0] += 1
            distributed.all_reduce(values)
            values /= self.size
        return values

    def agree(self, *decisions: int) -> tuple[int, ...]:
        """Returns, for each decision, the largest value of any process; all processes return the same."""
        if self.size == 1:
            return decisions
        self.operations[0] += 1
        votes = torch.tensor(decisions)
        distributed.all_reduce(votes, distributed.ReduceOp.MAX, group=self.control)
        return tuple(votes.tolist())

    def gather(self, facts: dict[str, Any]) -> list[dict[str, Any]]:
        """Returns the facts (JSON values) of all processes, in the order of ranks."""
        if self.size == 1:
            return [facts]
        text = torch.tensor(list(json.dumps(facts).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        distributed.all_gather(sizes, torch.tensor([len(text)]), group=self.control)
        longest = max(int(size) for size in sizes)
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        distributed.all_gather(texts, torch.cat([text, text.new_zeros(longest - len(text))]), group=self.control)
        return [json.loads(bytes(text[: int(size)].tolist())) for text, size in zip(texts, sizes, strict=True)]

    def broadcast(self, facts: dict[str, Any], tensors: Iterable[Tensor]) -> dict[str, Any]:
        """Returns the main process's facts (JSON values), and copies its tensors to all processes."""
        if self.size == 1:
            return facts
        for tensor in tensors:
            distributed.broadcast(tensor, 0)
        text = torch.tensor(list(json.dumps(facts).encode()), dtype=torch.uint8)
        size = torch.tensor([len(text)])
        distributed.broadcast(size, 0, group=self.control)
        text = text if self.is_main else torch.empty(int(size), dtype=torch.uint8)
        distributed.broadcast(text, 0, group=self.control)
        return json.loads(bytes(text.tolist()))
