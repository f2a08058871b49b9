"""Counts convolutions, kernels and memory of each preset's training step on a GPU, without a GPU.

    python benchmarks/step_counts.py [PRESET …]

Each preset's step runs at its full size on tensors that have shapes and types but no values (PyTorch's FakeTensor), with the
precision and the optimizer that a GPU would use. It counts

convolutions   calls, forward and backward
large          convolutions with filters at least 8 pixels high; no network has these, but an inefficient second derivative does
kernels        operations that compute something; a GPU starts one kernel for each, rarely two or three
memory         peak size of all tensors: weights, optimizers, activations, gradients. This is a lower bound: workspaces of libraries,
               fragmentation and the CUDA context (about 0.5 GiB) are added to it
"""

import argparse
import contextlib
import dataclasses
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from facegan.models import convolution  # noqa: E402 (the path above must come first)
from facegan.parameters import Parameters, read_parameters  # noqa: E402
from facegan.training.dry_run import describe_placeholder  # noqa: E402
from facegan.training.hardware import Hardware, choose_hardware  # noqa: E402
from facegan.training.microbatch import choose_size, find_unit  # noqa: E402
from facegan.training.trainer import Trainer  # noqa: E402

LARGE_FILTER = 8
CARDS = {"8 GB": 8e9, "12 GB": 12e9, "24 GB": 24e9}  # common memory sizes
CONTEXT_BYTES = 0.5 * 2**30
WITHOUT_KERNEL = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "promote_types")


class CountingDevice(Hardware):
    """A CPU with the settings of a GPU: bfloat16, an optimizer whose state stays on the device, no graph."""

    is_capturable, uses_graph = True, False


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of one training step."""

    convolutions: int
    large: int
    kernels: int
    peak_bytes: int


class Counter(TorchDispatchMode):
    """Counts operations and the total size of all live storages."""

    def __init__(self, resident: list[Tensor]):
        super().__init__()
        self.convolutions = self.large = self.kernels = self.bytes = self.peak = 0
        self.storages: dict[int, Any] = {}
        for tensor in resident:
            self._add(tensor)

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        name = operation.overloadpacket.__name__
        is_view = any(argument.alias_info is not None and not argument.alias_info.is_write for argument in operation._schema.arguments)
        if operation.namespace == "aten" and not is_view and name not in WITHOUT_KERNEL:
            self.kernels += 1
        if name in ("convolution", "convolution_backward"):
            self.convolutions += 1
            self.large += name == "convolution" and args[1].shape[2] >= LARGE_FILTER
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place = id(storage)
        if place not in self.storages:
            size = storage.nbytes()
            self.storages[place] = weakref.finalize(storage, self._drop, place, size)
            self.bytes += size
            self.peak = max(self.peak, self.bytes)

    def _drop(self, place: int, size: int) -> None:
        del self.storages[place]
        self.bytes -= size


def convert(network: nn.Module, device: torch.device, memory_format: torch.memory_format) -> nn.Module:
    """Replaces ``nn.Module.to``, which does not support fake tensors."""
    for module in network.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:
                value = value.detach().to(device)
                module._parameters[name] = nn.Parameter(value.contiguous(memory_format=memory_format) if value.ndim == 4 else value)
    return network


def duplicate(tensor: Tensor, memo: dict) -> Tensor:
    """Replaces ``copy.deepcopy`` of a tensor, which does not support fake tensors."""
    copied = tensor.detach().clone()
    return nn.Parameter(copied, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copied


@contextlib.contextmanager
def no_values() -> Iterator[None]:
    """Creates tensors without values, which take no memory, within this context."""
    patches = mock.patch.object(nn.Module, "to", convert), mock.patch.object(Tensor, "__deepcopy__", duplicate)
    as_on_a_gpu = mock.patch.object(convolution, "DENSE_BY_PYTORCH", ())
    with FakeTensorMode(allow_non_fake_inputs=True), patches[0], patches[1], as_on_a_gpu:
        yield


def make_trainer(parameters: Parameters, batch: int, microbatch: int | None) -> Trainer:
    """Returns a trainer, within ``no_values``."""
    resolution = parameters.preprocess.resolution
    chosen = choose_hardware("cpu", "bf16")  # for its other settings
    images = torch.empty((4 * batch, 3, resolution, resolution), dtype=torch.uint8)
    # PyTorch's capturable RMSprop needs a real device; Adam takes the same number of kernels and more memory
    changes = {"batch": batch, "microbatch": microbatch or "auto", "optimizer": "adam", "start_from": None, "order": "in_order"}
    train = parameters.train.model_copy(update=changes)
    return Trainer(describe_placeholder(images), [images], parameters.model, train, CountingDevice(chosen.device, chosen.precision))


def count_step(parameters: Parameters, penalize: bool, batch: int | None = None, microbatch: int | None = None) -> Counts:
    """Returns the counts of one step, with or without the penalty."""
    batch = batch or parameters.train.batch
    with no_values():
        trainer = make_trainer(parameters, batch, microbatch)
        trainer.apply_schedule()
        inputs = trainer.fetch()
        with Counter([*trainer.tensors().values(), *inputs]) as counter:
            trainer.run_updates(inputs, penalize and trainer.game.penalty != "none")
    return Counts(counter.convolutions, counter.large, counter.kernels, counter.peak)


def choose_for_cards(parameters: Parameters) -> dict[str, int | None]:
    """Returns the size of a microbatch for each card; None if no step fits."""
    with no_values():
        trainer = make_trainer(parameters, parameters.train.batch, None)
    batch = parameters.train.batch
    unit = find_unit(trainer.generator, trainer.discriminator, trainer.game.penalty_stride, batch)
    known: dict[int, int] = {}

    def measure(size: int, room: float) -> float:
        if size not in known:
            known[size] = count_step(parameters, True, microbatch=size).peak_bytes
        if known[size] > room:
            raise torch.OutOfMemoryError
        return known[size]

    result: dict[str, int | None] = {}
    for card, size in CARDS.items():
        room = size - CONTEXT_BYTES
        try:
            result[card] = choose_size(batch, unit, room, lambda images, room=room: measure(images, room))
        except torch.OutOfMemoryError:
            result[card] = None
    return result


def main(names: list[str]) -> None:
    """Prints a table with one row per preset."""
    print(f"PyTorch {torch.__version__}")
    print(f"| preset | batch | convolutions | large | kernels | GiB | microbatch on {', '.join(CARDS)} |\n|---|---|---|---|---|---|---|")
    for name in names:
        parameters = read_parameters(ROOT / "presets" / f"{name}.yaml")
        kinds = [True, False] if parameters.train.penalty_interval > 1 else [True]
        for penalize in kinds:
            counts = count_step(parameters, penalize)
            label = name if penalize else f"{name}, no penalty"
            cards = ", ".join(str(count or "none") for count in choose_for_cards(parameters).values()) if penalize else ""
            print(
                f"| {label} | {parameters.train.batch} | {counts.convolutions:,} | {counts.large:,} | {counts.kernels:,} "
                f"| {counts.peak_bytes / 2**30:.1f} | {cards} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "presets",
        nargs="*",
        default=sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")),
        help="names of presets (default: all)",
    )
    main(parser.parse_args().presets)
