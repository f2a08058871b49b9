"""Complete steps as CUDA graphs: captured once for each kind of step, then replayed without the host's help.

In: a function that plays a step, and every tensor that it changes. Out: the same step, from its graph. Where a capture fails
(an old driver, a library that waits for the host), nothing is lost: what it changed is put back, and steps are played eagerly
from then on.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from facegan.training.distributed import World

WARM_UP_STEPS = 3  # before a capture, so that libraries have chosen their algorithms and made their workspaces

Play = Callable[[list[Tensor], bool], None]  # a step with these inputs, with the penalty or without


class StepGraphs:
    """Plays steps from graphs.

    Args:
        play: one step; all that it changes stands in ``tensors``, and every run changes it alike.
        tensors: returns all that a step changes, by name.
        clear: drops what a step that broke off half-way has left, such as gradients.
        generators: the random generators that a step draws from.
        world: whose processes capture together; when one cannot, none does.
    """

    def __init__(
        self,
        play: Play,
        tensors: Callable[[], dict[str, Tensor]],
        clear: Callable[[], None],
        generators: list[torch.Generator],
        world: World,
    ):
        self.play, self.tensors, self.clear, self.generators, self.world = play, tensors, clear, generators, world
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self.inputs: list[Tensor] = []
        self.has_failed = False

    def step(self, inputs: list[Tensor], penalize: bool) -> None:
        """Plays a step with these inputs, from its graph where there can be one."""
        if not self.has_failed and penalize not in self.graphs:
            self.inputs = self.inputs or [torch.empty_like(images) for images in inputs]
            self._copy(inputs)
            self._try_to_capture(penalize)
        if self.has_failed:
            self.play(inputs, penalize)
        else:
            self._copy(inputs)
            self.graphs[penalize].replay()

    def _copy(self, inputs: list[Tensor]) -> None:
        for place, images in zip(self.inputs, inputs, strict=True):
            place.copy_(images)

    def _try_to_capture(self, penalize: bool) -> None:
        """Captures one kind of step. What that changed, random numbers included, is put back, whether it worked or not."""
        before = {name: value.clone() for name, value in self.tensors().items()}
        states = [generator.get_state() for generator in self.generators]
        reason = ""
        try:
            self.graphs[penalize] = self._capture(penalize)
        except torch.OutOfMemoryError:
            raise  # without a graph it would not fit either
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[0]
            self.clear()
            for generator in self.generators:
                renew(generator)
        (failures,) = self.world.agree(int(bool(reason)))
        for name, value in self.tensors().items():
            value.copy_(before[name])
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)
        if failures:
            self.has_failed = True
            self.graphs.clear()
            if reason or self.world.is_main:
                reason = reason or "another process could not"
                print(f"a step could not be captured as a CUDA graph ({reason}): going on without, the same numbers but slower", flush=True)

    def _capture(self, penalize: bool) -> torch.cuda.CUDAGraph:
        """Returns the graph of one step."""
        home, side = torch.cuda.current_stream(), torch.cuda.Stream()
        try:
            side.wait_stream(home)
            with torch.cuda.stream(side):
                for _ in range(WARM_UP_STEPS):
                    self.play(self.inputs, penalize)
            home.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            for generator in self.generators:
                graph.register_generator_state(generator)
            # one kind of step runs at a time and leaves nothing in the pool, so all kinds can share it
            pool = next(iter(self.graphs.values())).pool() if self.graphs else None
            # NCCL's watchdog asks the device things from its own thread meanwhile, which only this mode allows
            mode = "thread_local" if self.world.size > 1 else "global"
            with torch.cuda.graph(graph, pool=pool, capture_error_mode=mode):
                self.play(self.inputs, penalize)
            return graph
        finally:
            torch.cuda.set_stream(home)  # a capture that fails leaves its own behind


def renew(generator: torch.Generator) -> None:
    """Frees a CUDA generator from a capture that broke off, which would otherwise be waiting for it to end."""
    if generator.device.type == "cuda":
        generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
