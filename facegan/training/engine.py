"""How a step runs fast on this machine: device, precision, memory layout, CUDA graph, several processes.

In: the networks, the game and the number of images seen. Out: the networks after one step, and sums of what
happened, all on the device; nothing here waits for it.

Random numbers are a function of (seed, images_seen, draw): the generators are seeded anew before every step, and every process
and every piece of a batch reads those at its own place in the whole batch. So a resumed run, a CUDA graph and its eager twin,
several processes and several pieces all draw alike.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from facegan.common.devices import find_device
from facegan.common.errors import FaceganError
from facegan.common.pictures import from_bytes
from facegan.models.convolution import share_casts
from facegan.models.latents import draw_latents
from facegan.models.whole_batch import Piece, see_piece
from facegan.training.augmentation import Augmentation, adapt
from facegan.training.batches import Batches, mix
from facegan.training.cuda_graph import StepGraphs
from facegan.training.distributed import World
from facegan.training.ema import update_ema
from facegan.training.game import Game, Move, StepValues, discriminator_move, generator_move
from facegan.training.microbatch import check_penalty_stride, cut, find_unit
from facegan.training.networks import Networks

STEP_SUMS = ("loss_generator", "loss_discriminator", "real_logit", "fake_logit", "real_sign", "diversity", "steps")
GREY_LEVEL = 1 / 127.5  # of images in [-1, 1]
ADAPT_STEPS = 4  # the adaptive strength moves every so many steps, as ADA's authors have it


@dataclasses.dataclass(frozen=True)
class Hardware:
    """What training runs on.

    Attributes:
        precision: of the convolutions and matrix products; weights are always float32.
        allows_graph: whether steps may be captured in CUDA graphs.
    """

    device: torch.device
    precision: torch.dtype
    allows_graph: bool = True

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The context in which networks run."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32), share_casts():
            yield

    @property
    def is_capturable(self) -> bool:
        """Whether every changing number stays on the device, so that a CUDA graph could hold a step."""
        return self.device.type == "cuda"

    @property
    def uses_graph(self) -> bool:
        """Whether complete steps are captured in CUDA graphs."""
        return self.is_capturable and self.allows_graph


def choose_hardware(device: str, precision: str, cuda_graph: str = "auto") -> Hardware:
    """Returns the hardware to train on, and sets PyTorch to compute the same there every time.

    Args:
        device: "auto" takes a CUDA GPU where there is one, else Apple's, else the CPU.
        precision: "auto" is bfloat16 where the chip computes in it.
        cuda_graph: "auto", or "off" to play every step eagerly.

    Raises:
        FaceganError: a device that this machine does not have.
    """
    if device == "auto":
        device = find_device().type
    if device == "cuda" and not torch.cuda.is_available():
        raise FaceganError("train.device: expected a CUDA GPU; found none that PyTorch can use; set train.device to auto or cpu")
    if device == "mps" and not torch.backends.mps.is_available():
        raise FaceganError("train.device: expected an Apple GPU; found none that PyTorch can use; set train.device to auto or cpu")
    if precision == "auto":
        precision = "bf16" if computes_bfloat16(device) else "fp32"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic with this, if set before its first use
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would fill each new tensor, for debugging; 3% of the time
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = False  # float32 means float32; cuDNN would round to ten bits of it
    torch.backends.cuda.matmul.allow_tf32 = False
    return Hardware(torch.device(device), {"bf16": torch.bfloat16, "fp32": torch.float32}[precision], cuda_graph == "auto")


def computes_bfloat16(device: str) -> bool:
    """Returns whether the chip has arithmetic in bfloat16, so that it is faster there and not just smaller."""
    if device == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    return device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def find_default_generator(device: torch.device) -> torch.Generator:
    """Returns the random generator that operations on the device draw from when they are given none."""
    if device.type == "cuda":
        torch.cuda.init()
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    return torch.mps._get_default_mps_generator() if device.type == "mps" else torch.default_generator


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

    Args:
        microbatch: how many images a process has before it at once; its share of the batch is taken in pieces of so many.

    Attributes:
        step_sums: sums over the steps since it was last cleared, in the order of ``STEP_SUMS``.
        strength: the augmentation's present strength, a 0-dim tensor.

    Raises:
        FaceganError: a batch that the processes do not divide, or a penalty's stride or a microbatch that would change the outcome.
    """

    def __init__(
        self,
        networks: Networks,
        game: Game,
        batches: Batches,
        hardware: Hardware,
        world: World,
        batch: int,
        flip: bool,
        seed: int,
        microbatch: int | None = None,
    ):
        if batch % world.size:
            raise FaceganError(f"train.batch: expected a multiple of the number of processes ({world.size}); found {batch}; change either")
        self.networks, self.game, self.batches, self.hardware, self.world = networks, game, batches, hardware, world
        self.batch, self.flip, self.seed = batch, flip, seed
        self.unaugmented = dataclasses.replace(game, augmentation=Augmentation("none"))
        self.share = world.share(batch)
        check_penalty_stride(networks, game.penalty_stride, self.share.stop - self.share.start, world.size)
        self.set_microbatch(microbatch)
        device = hardware.device
        self.gamma, self.ema_decay, self.strength = (torch.zeros((), device=device) for _ in range(3))
        self.adaptive = torch.zeros(2, device=device)  # sum of signs and of steps since the strength was last adapted
        self.step_sums = torch.zeros(len(STEP_SUMS), device=device)
        self.random = torch.Generator(device)  # of what all processes draw alike: flips and latents
        self.order = self.random if device.type == "cpu" else torch.Generator()  # of images, known before their step begins
        self.default_random = find_default_generator(device)  # of what the networks and the augmentation draw
        generators = [self.random, self.default_random]
        self.graphs = StepGraphs(self.run_step, self.tensors, networks.clear_gradients, generators, world) if hardware.uses_graph else None

    def set_microbatch(self, microbatch: int | None) -> None:
        """Sets how many images are before the networks at once; None: the whole share."""
        count = self.share.stop - self.share.start
        self.microbatch = count if microbatch is None else microbatch
        self.pieces = cut(count, self.microbatch, find_unit(self.networks, self.game.penalty_stride, self.batch, count))

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor that a step changes, by name."""
        own = {"strength": self.strength, "adaptive": self.adaptive, "step_sums": self.step_sums}
        return {**self.networks.tensors(), **own}

    def step(self, images_seen: int, draw: int, settings: Settings) -> None:
        """Plays one step with the batch that follows the first ``images_seen`` images.

        Args:
            draw: 0, or how often the run went back; another draw gives other latents, flips and augmentations.
        """
        self.set(settings)
        random_seed = mix(self.seed, images_seen, draw)
        for generator in (self.random, self.order):
            generator.manual_seed(random_seed)
        self.default_random.manual_seed(mix(random_seed, 0))
        inputs = self.fetch(images_seen)
        penalize = self.game.penalty != "none" and images_seen // self.batch % self.game.penalty_interval == 0
        play = self.graphs.step if self.graphs else self.run_step
        play(inputs, penalize)
        following = images_seen + self.batch
        self.batches.read_ahead(lambda: self._choose(following, torch.Generator().manual_seed(mix(self.seed, following, draw))))
        if settings.strength is None and images_seen // self.batch % ADAPT_STEPS == ADAPT_STEPS - 1:
            self._adapt()

    def set(self, settings: Settings) -> None:
        """Puts a step's numbers in their places on the device."""
        self.networks.set_rates(settings.generator_lr, settings.discriminator_lr, settings.betas)
        self.gamma.fill_(settings.gamma)
        self.ema_decay.fill_(settings.ema_decay)
        if settings.strength is not None:
            self.strength.fill_(settings.strength)

    def fetch(self, images_seen: int) -> list[Tensor]:
        """Returns this process's share of the real images that the step needs, for each move (B / processes, 3, H, W) in uint8."""
        return [self.batches.take(indices) for indices in self._choose(images_seen, self.order)]

    def _choose(self, images_seen: int, order: torch.Generator) -> list[Tensor]:
        """Returns which real images those are: indices (B / processes,) for each move."""
        result = [self.batches.choose(images_seen, self.batch)[self.share]]
        if self.game.fresh_batch and self.game.objective.paired:
            result.append(torch.randint(self.batches.count, (self.batch,), generator=order)[self.share])
        return result

    def run_step(self, inputs: list[Tensor], penalize: bool) -> None:
        """One move of each network, the EMA, and the sums. With a CUDA graph, this is what it holds."""
        generator, discriminator = self.networks.generator, self.networks.discriminator
        # at strength 0 nothing would be transformed, for two fifths of a small network's time; only a CPU can look without waiting
        looks = self.hardware.device.type == "cpu" and not self.hardware.is_capturable
        game = self.unaugmented if looks and self.strength.item() == 0 else self.game
        fresh, is_whole = game.fresh_batch, len(self.pieces) == 1
        values = StepValues(self.gamma, self.strength)
        real, latents, drawn = self._prepare(inputs[0]), self._draw_latents(), self._begin()
        fakes = []
        for rows in self.pieces:
            with self.hardware.autocast(), self._see(rows, drawn), torch.set_grad_enabled(is_whole and not fresh):
                fakes.append(generator(latents[rows]).float())
        fake = fakes[0] if is_whole else torch.cat(fakes)  # (B, 3, H, W)
        first = self._move(discriminator, lambda rows: discriminator_move(discriminator, game, values, real[rows], fake[rows], penalize))

        diversity = self._measure_diversity(fake) / self._measure_diversity(real).clamp(min=GREY_LEVEL)
        if fresh:
            real, latents = self._prepare(inputs[-1]), self._draw_latents()

        def play(rows: slice) -> Move:
            if fresh:
                images = generator(latents[rows]).float()
            elif is_whole:
                images = fake
            else:  # once more, since the derivatives of all pieces would not fit
                with self._see(rows, drawn, is_repeat=True):
                    images = generator(latents[rows]).float()
            return generator_move(discriminator, game, values, real[rows], images)

        second = self._move(generator, play)
        update_ema(self.networks.ema, generator, self.ema_decay)
        # a logit that only counts beside a generated one's has no zero of its own
        margin = first.real_logits - first.fake_logits if game.objective.paired else first.real_logits  # (B,)
        sign = margin.sign().mean()
        one = torch.ones_like(sign)
        seen = [second.loss, first.loss, first.real_logits.mean(), first.fake_logits.mean(), sign, diversity, one]
        self.step_sums += torch.stack(seen)
        self.adaptive += torch.stack([sign, one])

    def _move(self, network: nn.Module, play: Callable[[slice], Move]) -> Move:
        """Lets a network move: gradients of all pieces, averaged over processes, and one step. Returns the whole share's move."""
        drawn, moves = self._begin(), []
        for rows in self.pieces:
            with self.hardware.autocast(), parametrize.cached(), self._see(rows, drawn):  # all passes share one spectral norm
                move = play(rows)
            part = (rows.stop - rows.start) / (self.share.stop - self.share.start)
            loss = move.loss if part == 1 else part * move.loss  # losses and penalties are means over images
            loss.backward()
            moves.append(Move(loss.detach(), move.real_logits, move.fake_logits))
        self.world.average_gradients(network.parameters())
        self.networks.step(network)
        if len(moves) == 1:
            return moves[0]
        losses, real_logits, fake_logits = zip(*moves, strict=True)
        return Move(torch.stack(losses).sum(), torch.cat(real_logits), torch.cat(fake_logits))

    def _begin(self) -> list[Tensor] | None:
        """Returns where the pieces leave the whole batch's random numbers for one another; one piece alone keeps none."""
        return None if len(self.pieces) == 1 else []

    def _see(self, rows: slice, drawn: list[Tensor] | None, is_repeat: bool = False) -> AbstractContextManager[None]:
        """Returns the context in which networks have these rows of the share before them."""
        start = self.share.start
        return see_piece(Piece(start + rows.start, start + rows.stop, self.batch, drawn, is_first=rows.start == 0, is_repeat=is_repeat))

    def _prepare(self, images: Tensor) -> Tensor:
        """Returns uint8 images as floats in [-1, 1], half of them mirrored where the preset flips."""
        images = from_bytes(images).contiguous(memory_format=torch.channels_last)
        if not self.flip:
            return images
        chosen = torch.rand(self.batch, generator=self.random, device=images.device)[self.share] < 0.5
        return torch.where(chosen[:, None, None, None], images.flip(3), images)  # (B, 3, H, W)

    def _draw_latents(self) -> Tensor:
        """Returns this process's share of latents that all processes draw alike."""
        return draw_latents(self.networks.generator, self.batch, self.random)[self.share]  # (B, latent_size)

    def _adapt(self) -> None:
        signs, steps = self.world.average(self.adaptive.clone())
        self.strength.copy_(adapt(self.strength, signs / steps, ADAPT_STEPS * self.batch))
        self.adaptive.zero_()

    def _measure_diversity(self, images: Tensor) -> Tensor:
        """Returns how much the whole batch's images differ: the standard deviation over the batch, a mean over pixels.

        Every fourth row and column is enough for that, and spares two per cent of a step's time on a CPU.
        """
        images = images.detach()[:, :, ::4, ::4]
        if self.world.size == 1:
            return images.std(0).mean()
        mean = self.world.average(images.mean(0))
        variance = self.world.average((images - mean).square().mean(0)) * self.batch / (self.batch - 1)
        return variance.sqrt().mean()
