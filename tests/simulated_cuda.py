"""A CUDA GPU simulated on the CPU, so that lines that only CUDA reaches are executed, with real numbers.

Within ``simulated_cuda`` PyTorch reports a GPU. Its tensors are in main memory, and fail in an operation with others. A capture records
every operation, and a replay repeats the record on the same tensors, as a CUDA graph does: numbers of the host are constants in it, and
reading a tensor fails.
"""

import contextlib
import time
import weakref
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

MEMORY = 8 << 30  # bytes of the simulated GPU
WAITS = ("_local_scalar_dense", "nonzero", "equal", "masked_select")  # operations whose result the host waits for
CPU = torch.device("cpu")
MAY_MIX = ("to", "copy_", "_foreach_copy_", "__get__", "__set__", "__getitem__", "__setitem__", "_has_compatible_shallow_copy_type")
AUTOCAST, GENERATOR = torch.autocast, torch.Generator


class OnTheCPU(TorchFunctionMode):
    """Creates tensors for the GPU on the CPU, remembers which they are, and fails if an operation mixes them with others."""

    def __init__(self):
        super().__init__()
        self.storages: dict[int, Any] = {}

    def is_on_gpu(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.storages

    def put_on_gpu(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.storages:
            self.storages[storage._cdata] = weakref.finalize(storage, self.storages.pop, storage._cdata, None)

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = {name: value for name, value in (kwargs or {}).items() if name != "pin_memory"}
        name = getattr(function, "__name__", "")
        if function is torch.device or name in ("untyped_storage", "_parse_to"):
            return function(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_gpu = [self.is_on_gpu(tensor) for tensor in tensors]
        if function == Tensor.device.__get__ and any(on_gpu):
            return torch.device("cuda", 0)
        if function == Tensor.is_cuda.__get__:
            return any(on_gpu)
        named = [torch.device(value) for value in (*args, *kwargs.values()) if is_device(value)]
        target = named[0].type if named else "cpu" if name == "cpu" else "cuda" if name == "cuda" else None
        if any(on_gpu) and name in ("numpy", "__array__"):
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        others = [tensor for tensor, here in zip(tensors, on_gpu, strict=True) if not here and tensor.ndim]
        in_backward = torch._C._current_graph_task_id() != -1  # its gradients come from C++, and so from no call that was seen
        if any(on_gpu) and others and name not in MAY_MIX and not in_backward:
            raise RuntimeError(f"Expected all tensors to be on the same device, but {name} found at least two devices, cuda:0 and cpu!")
        result = function(*map(redirect, args), **{key: redirect(value) for key, value in kwargs.items()})
        if target and tensors and isinstance(result, Tensor) and (target == "cuda") != on_gpu[0]:
            result = result.clone()  # PyTorch returns the same tensor if nothing is to be moved
        if target == "cuda" or (target is None and any(on_gpu)):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self.put_on_gpu(leaf)
        return result


def redirect(value: Any) -> Any:
    return CPU if is_device(value) else value


def is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value.split(":")[0] in ("cuda", "cpu"))


class Generator(GENERATOR):
    """A random generator that reports the device it was made for."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        result = super().__new__(cls)
        result.named = torch.device(device)
        return result

    @property
    def device(self) -> torch.device:
        return self.named

    def graphsafe_get_state(self) -> Tensor:
        return self.get_state()

    def graphsafe_set_state(self, state: Tensor) -> None:
        self.set_state(state)


class Stream:
    def wait_stream(self, other: "Stream") -> None:
        pass


class Event:
    def __init__(self, enable_timing: bool = False):
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, end: "Event") -> float:
        return (end.at - self.at) * 1000


class Graph:
    """A record of operations."""

    def __init__(self):
        self.record: list[tuple[Any, tuple, dict, Any]] = []

    def register_generator_state(self, generator: GENERATOR) -> None:
        pass

    def pool(self) -> None:
        pass

    def replay(self) -> None:
        """Runs the recorded operations again, and writes their results to the same tensors."""
        with torch.no_grad(), torch._C.DisableTorchFunction():
            for operation, args, kwargs, result in self.record:
                repeated = operation(*args, **kwargs)
                returns = operation._schema.returns
                for number, (old, new) in enumerate(zip(as_tuple(result), as_tuple(repeated), strict=True)):
                    if len(returns) <= number or returns[number].alias_info is None:
                        for place, value in zip(tree_leaves(old), tree_leaves(new), strict=True):
                            if isinstance(place, Tensor):
                                place.copy_(value)


def as_tuple(result: Any) -> tuple:
    return result if isinstance(result, tuple) else (result,)


class Recorder(TorchDispatchMode):
    """Runs and records operations."""

    def __init__(self, graph: Graph):
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, operation: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if operation.overloadpacket.__name__ in WAITS:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        result = operation(*args, **(kwargs or {}))
        # a tensor that nobody changes later must be kept as it is, even if its owner is freed and its memory used again
        self.graph.record.append((operation, *tree_map(detach, (args, kwargs or {}, result))))
        return result


def detach(value: Any) -> Any:
    """Returns another tensor with the same memory, so that the record keeps the memory and no autograd graph."""
    return value.detach() if isinstance(value, Tensor) else value


@contextlib.contextmanager
def capture(graph: Graph, pool: Any = None, capture_error_mode: str = "global") -> Iterator[None]:
    """Replaces ``torch.cuda.graph``."""
    with Recorder(graph):
        yield


@contextlib.contextmanager
def simulated_cuda() -> Iterator[None]:
    """Simulates a GPU within this context."""
    replacements = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_capability": lambda device=None: (9, 0),
        "get_device_name": lambda device=None: "Simulated GPU",
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "mem_get_info": lambda device=None: (MEMORY, MEMORY),
        "memory_reserved": lambda device=None: 0,
        "max_memory_reserved": lambda device=None: 1 << 20,
        "max_memory_allocated": lambda device=None: 1 << 20,
        "reset_peak_memory_stats": lambda device=None: None,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: None,
        "set_device": lambda device: None,
        "Stream": Stream,
        "Event": Event,
        "current_stream": Stream,
        "set_stream": lambda stream: None,
        "stream": lambda stream: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "graph": capture,
    }
    with contextlib.ExitStack() as stack:
        for name, replacement in replacements.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, replacement))
        stack.enter_context(mock.patch.object(torch, "autocast", lambda device, *args, **kwargs: AUTOCAST("cpu", *args, **kwargs)))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        # which asks CUDA whether a capture is under way
        stack.enter_context(mock.patch.object(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda optimizer: None))
        stack.enter_context(OnTheCPU())
        yield
