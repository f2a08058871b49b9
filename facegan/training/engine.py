"""How a step runs fast on this machine: device, precision, memory layout, CUDA graph, several processes.

In: the networks, the game and the number of images seen. Out: the networks after one step, and sums of what
happened, all on the device; nothing here waits for it.

Random numbers are a function of (seed, images_seen, draw, rank): the generators are seeded anew before every step, so a
resumed run, a CUDA graph and its eager twin draw alike.
"""

import dataclasses
import os
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from facegan.common.errors import FaceganError
from facegan.common.pictures import from_bytes
from facegan.models.latents import draw_latents
from facegan.training.augmentation import adapt
from facegan.training.batches import Batches, mix
from facegan.training.distributed import World
from facegan.training.ema import update_ema
from facegan.training.game import Game, StepValues, discriminator_move, generator_move
from facegan.training.networks import Networks

STEP_SUMS = ("loss_generator", "loss_discriminator", "real_logit", "fake_logit", "real_sign", "diversity", "steps")
GRAPH_WARM_UP_STEPS = 3
ADAPT_STEPS = 4  # the adaptive strength moves every so many steps, as ADA's authors have it


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What training runs on. ``precision``: of the convolutions and matrix products; weights are always float32."""

    device: torch.device
    precision: torch.dtype

    def autocast(self) -> AbstractContextManager:
        """Returns the context in which networks run."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    @property
    def uses_graph(self) -> bool:
        """Whether complete steps are captured in a CUDA graph."""
        return self.device.type == "cuda"


def choose_hardware(device: str, precision: str) -> Hardware:
    """Returns the hardware to train on; ``auto`` takes a GPU where there is one, and bfloat16 where the chip computes in it.

    Raises:
        FaceganError: a device that this machine does not have.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise FaceganError("train.device: expected a CUDA GPU; found none that PyTorch can use; set train.device to auto or cpu")
    if precision == "auto":
        precision = "bf16" if computes_bfloat16(device) else "fp32"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with this, if set before its first use
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would fill each new tensor, for debugging; 3% of the time
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return Hardware(torch.device(device), {"bf16": torch.bfloat16, "fp32": torch.float32}[precision])


def computes_bfloat16(device: str) -> bool:
    """Returns whether the chip has arithmetic in bfloat16, so that it is faster there and not just smaller."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@dataclasses.dataclass
class Settings:
    """The numbers of one step, from the schedules."""

    generator_lr: float
    discriminator_lr: float
    betas: tuple[float, float]
    gamma: float
    strength: float | None  # None: adaptive
    ema_decay: float


class Engine:
    """Runs steps of the game.

    Attributes:
        step_sums: sums over the steps since it was last cleared, in the order of ``STEP_SUMS``.
        strength: the augmentation's present strength, a 0-dim tensor.
    """

    def __init__(self, networks: Networks, game: Game, batches: Batches, hardware: Hardware, world: World, batch: int, flip: bool, seed: int):
        if batch % world.size:
            raise FaceganError(f"train.batch: expected a multiple of the number of processes ({world.size}); found {batch}; change either")
        self.networks, self.game, self.batches, self.hardware, self.world = networks, game, batches, hardware, world
        self.batch, self.flip, self.seed = batch, flip, seed
        device = hardware.device
        self.gamma, self.ema_decay, self.strength = (torch.zeros((), device=device) for _ in range(3))
        self.adaptive = torch.zeros(2, device=device)  # sum of signs and of steps since the strength was last adapted
        self.step_sums = torch.zeros(len(STEP_SUMS), device=device)
        self.random = torch.Generator(device)
        self.graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self.inputs: list[Tensor] = []

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor that a step changes, by name."""
        own = {"strength": self.strength, "adaptive": self.adaptive, "step_sums": self.step_sums}
        return {**self.networks.tensors(), **own}

    def step(self, images_seen: int, draw: int, settings: Settings) -> None:
        """Plays one step with the batch that follows the first ``images_seen`` images.

        Args:
            draw: 0, or how often the run went back; another draw gives other latents, flips and augmentations.
        """
        self._set(settings)
        random_seed = mix(self.seed, images_seen, draw)
        self.random.manual_seed(random_seed)
        torch.manual_seed(mix(random_seed, self.world.rank))
        penalize = self.game.penalty != "none" and images_seen // self.batch % self.game.penalty_interval == 0
        inputs = self._fetch(images_seen)
        if self.hardware.uses_graph and self.world.size == 1:
            self._replay(inputs, penalize)
        else:
            self._run_step(inputs, penalize)
        if settings.strength is None and images_seen // self.batch % ADAPT_STEPS == ADAPT_STEPS - 1:
            self._adapt()

    def _set(self, settings: Settings) -> None:
        self.networks.set_rates(settings.generator_lr, settings.discriminator_lr, settings.betas)
        self.gamma.fill_(settings.gamma)
        self.ema_decay.fill_(settings.ema_decay)
        if settings.strength is not None:
            self.strength.fill_(settings.strength)

    def _fetch(self, images_seen: int) -> list[Tensor]:
        """Returns this process's share of the real images that the step needs, in uint8."""
        share = self.world.share(self.batch)
        inputs = [self.batches.take(self.batches.choose(images_seen, self.batch)[share])]
        if self.game.fresh_batch and self.game.objective.paired:
            indices = torch.randint(self.batches.count, (self.batch,), generator=self.random, device=self.hardware.device)
            inputs.append(self.batches.take(indices[share]))
        return inputs  # each (B / processes, 3, H, W)

    def _run_step(self, inputs: list[Tensor], penalize: bool) -> None:
        """One move of each network, the EMA, and the sums. With a CUDA graph, this is what it holds."""
        generator, discriminator = self.networks.generator, self.networks.discriminator
        values = StepValues(self.gamma, self.strength)
        with self.hardware.autocast(), parametrize.cached():  # both passes share one spectral norm
            real, latents = self._prepare(inputs[0]), self._draw_latents()
            with torch.set_grad_enabled(not self.game.fresh_batch):
                fake = generator(latents).float()  # (B, 3, H, W)
            first = discriminator_move(discriminator, self.game, values, real, fake, penalize)
        first.loss.backward()
        self.world.average_gradients(discriminator.parameters())
        self.networks.step(discriminator)

        diversity = measure_diversity(fake) / measure_diversity(real)
        with self.hardware.autocast(), parametrize.cached():
            if self.game.fresh_batch:
                real = self._prepare(inputs[-1])
                fake = generator(self._draw_latents()).float()
            second = generator_move(discriminator, self.game, values, real, fake)
        second.loss.backward()
        self.world.average_gradients(generator.parameters())
        self.networks.step(generator)

        update_ema(self.networks.ema, generator, self.ema_decay)
        # a logit that only counts beside a generated one's has no zero of its own
        margin = first.real_logits - first.fake_logits if self.game.objective.paired else first.real_logits  # (B,)
        sign = margin.sign().mean()
        one = torch.ones_like(sign)
        seen = [second.loss.detach(), first.loss.detach(), first.real_logits.mean(), first.fake_logits.mean(), sign, diversity, one]
        self.step_sums += torch.stack(seen)
        self.adaptive += torch.stack([sign, one])

    def _prepare(self, images: Tensor) -> Tensor:
        """Returns uint8 images as floats in [-1, 1], half of them mirrored where the preset flips."""
        images = from_bytes(images).contiguous(memory_format=torch.channels_last)
        if not self.flip:
            return images
        chosen = torch.rand(self.batch, generator=self.random, device=images.device)[self.world.share(self.batch)] < 0.5
        return torch.where(chosen[:, None, None, None], images.flip(3), images)  # (B, 3, H, W)

    def _draw_latents(self) -> Tensor:
        """Returns this process's share of latents that all processes draw alike."""
        return draw_latents(self.networks.generator, self.batch, self.random)[self.world.share(self.batch)]  # (B, latent_size)

    def _adapt(self) -> None:
        signs, steps = self.world.average(self.adaptive.clone())
        self.strength.copy_(adapt(self.strength, signs / steps, ADAPT_STEPS * self.batch))
        self.adaptive.zero_()

    def _replay(self, inputs: list[Tensor], penalize: bool) -> None:
        """Plays a step from its CUDA graph, captured at the first such step."""
        if not self.inputs:
            self.inputs = [torch.empty_like(images) for images in inputs]
        for place, images in zip(self.inputs, inputs, strict=True):
            place.copy_(images)
        if penalize not in self.graphs:
            self.graphs[penalize] = self._capture(penalize)
        self.graphs[penalize].replay()

    def _capture(self, penalize: bool) -> torch.cuda.CUDAGraph:
        """Returns the graph of one step. What the warm-up changed, random numbers included, is put back."""
        before = {name: value.clone() for name, value in self.tensors().items()}
        states = self.random.get_state(), torch.cuda.get_rng_state()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(GRAPH_WARM_UP_STEPS):
                self._run_step(self.inputs, penalize)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.random)
        with torch.cuda.graph(graph):
            self._run_step(self.inputs, penalize)
        for name, value in self.tensors().items():
            value.copy_(before[name])
        self.random.set_state(states[0])
        torch.cuda.set_rng_state(states[1])
        return graph


def measure_diversity(images: Tensor) -> Tensor:
    """Returns how much images (B, 3, H, W) differ from one another: the standard deviation over the batch, a mean over pixels.

    Every fourth row and column is enough for that, and spares two per cent of a step's time on a CPU.
    """
    return images.detach()[:, :, ::4, ::4].std(0).mean()
