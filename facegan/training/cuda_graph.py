"""Complete steps as CUDA graphs: captured once per kind of step, then replayed without work on the host.

In: a function that runs a step, and every tensor that it changes. Out: the same step, from its graph. Each new graph is checked once: from
the same state, its results must be finite and byte-identical to those of an eager step. If a capture (an old driver, a library
that waits for the host) or this check fails, everything is restored, and steps run eagerly from then on.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from facegan.training.processes import World

WARM_UP_STEPS = 3  # before a capture, so that libraries have chosen algorithms and allocated workspaces

Run = Callable[[list[Tensor], bool], None]  # a step with these inputs, with or without the penalty


class StepGraphs:
    """Runs steps from graphs.

    Args:
        run_eagerly: one step; it changes only ``tensors``, in the same way every time.
        tensors: returns everything that a step changes, by name.
        clear: removes what an interrupted step has left, such as gradients.
        generators: the random generators that a step uses.
        world: the processes that capture together; if one fails, none uses graphs.
    """

    def __init__(
        self,
        run_eagerly: Run,
        tensors: Callable[[], dict[str, Tensor]],
        clear: Callable[[], None],
        generators: list[torch.Generator],
        world: World,
    ):
        self.run_eagerly, self.tensors, self.clear, self.generators, self.world = run_eagerly, tensors, clear, generators, world
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self.inputs: list[Tensor] = []
        self.problem = ""  # why steps run eagerly

    def run(self, inputs: list[Tensor], penalize: bool) -> None:
        """Runs a step with these inputs, from its graph if possible."""
        if not self.problem and penalize not in self.graphs:
            self.inputs = self.inputs or [torch.empty_like(images) for images in inputs]
            self._copy(inputs)
            self._try_to_capture(penalize)
        if self.problem:
            self.run_eagerly(inputs, penalize)
        else:
            self._copy(inputs)
            self.graphs[penalize].replay()

    def _copy(self, inputs: list[Tensor]) -> None:
        for place, images in zip(self.inputs, inputs, strict=True):
            place.copy_(images)

    def _try_to_capture(self, penalize: bool) -> None:
        """Captures and checks one kind of step, and restores everything that this changed, random generators included."""
        before = self._copy_tensors()
        states = [generator.get_state() for generator in self.generators]

        def restore() -> None:
            for name, value in self.tensors().items():
                value.copy_(before[name])
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

        reason, expected = "", dict[str, Tensor]()
        try:
            self.graphs[penalize], expected = self._capture(penalize)
        except torch.OutOfMemoryError:
            raise  # it would not fit without a graph either
        except RuntimeError as error:
            reason = f"could not be captured as a CUDA graph ({str(error).strip().splitlines()[0]})"
            self.clear()
            for generator in self.generators:
                renew(generator)
        (failures,) = self.world.agree(int(bool(reason)))
        restore()
        if not failures:
            self.graphs[penalize].replay()
            if difference := find_difference(self.tensors(), expected):
                reason = f"differs when it is replayed from its CUDA graph, or is not finite ({difference})"
            (failures,) = self.world.agree(int(bool(reason)))
            restore()
        if failures:
            self.problem = reason or "failed as a CUDA graph in another process"
            self.graphs.clear()
            if reason or self.world.is_main:
                print(f"a step {self.problem}; continuing without graphs: slower, same result", flush=True)

    def _copy_tensors(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.tensors().items()}

    def _capture(self, penalize: bool) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        """Returns the graph of one step, and the tensors after the first eager step."""
        home, side = torch.cuda.current_stream(), torch.cuda.Stream()
        try:
            side.wait_stream(home)
            with torch.cuda.stream(side):
                self.run_eagerly(self.inputs, penalize)
                expected = self._copy_tensors()
                for _ in range(WARM_UP_STEPS - 1):
                    self.run_eagerly(self.inputs, penalize)
            home.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            for generator in self.generators:
                graph.register_generator_state(generator)
            # only one graph runs at a time and nothing in the pool outlives it, so all graphs can share it
            pool = next(iter(self.graphs.values())).pool() if self.graphs else None
            # NCCL's watchdog thread queries the device during the capture, which only this mode allows
            mode = "thread_local" if self.world.size > 1 else "global"
            with torch.cuda.graph(graph, pool=pool, capture_error_mode=mode):
                self.run_eagerly(self.inputs, penalize)
            return graph, expected
        finally:
            torch.cuda.set_stream(home)  # a failed capture leaves its own stream set


def find_difference(found: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """Returns a text about the first tensor whose values are not finite or not the same; empty if there is none."""
    for name, value in expected.items():
        if not value.isfinite().all():
            return f"{name} is not finite"
        if not torch.equal(found[name], value):
            return f"{name} differs by up to {(found[name] - value).abs().max().item():.3g} of {value.abs().max().item():.3g}"
    return ""


def renew(generator: torch.Generator) -> None:
    """Detaches a CUDA generator from a failed capture, which it would otherwise wait for."""
    if generator.device.type == "cuda":
        generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
