"""The trainer: everything that changes during a run, and one training step.

A step is a function of the state and of the random seed (seed, images_seen, number of rewinds): the random generators are seeded before
every step, and every random number is drawn here, for the full batch. Microbatches and processes get their rows of it. So a resumed run, a
CUDA graph, several processes and several microbatches all compute the same, except for the order of floating-point sums.
"""

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.utils._pytree import tree_map_only

from facegan.common.errors import FaceganError
from facegan.common.labels import summarize
from facegan.common.pictures import from_bytes
from facegan.common.shards import Index
from facegan.models.generator_file import Card, write_card
from facegan.models.latents import draw_latents, seeded_latents
from facegan.models.layers import CALIBRATION_BATCH, CALIBRATION_BATCHES, recalibrate_batch_norm, unshare_batch_norm
from facegan.models.network import DiscriminatorNetwork, GeneratorNetwork, Network, Noise
from facegan.models.parameters import ModelParameters
from facegan.models.registry import build_discriminator, build_generator
from facegan.training.augmentation import Augmentation, adapt
from facegan.training.checkpoint import hash_of
from facegan.training.code import hash_code
from facegan.training.collapse import CollapseDetector
from facegan.training.cuda_graph import StepGraphs
from facegan.training.data import Batches, derive_seed
from facegan.training.game import Game, Inputs, Losses, Values, View, discriminator_loss, generator_loss
from facegan.training.hardware import Hardware
from facegan.training.losses import OBJECTIVES
from facegan.training.microbatch import check_networks, find_unit, split
from facegan.training.optimizers import apply_gradients, make_optimizer, set_rates, update_ema
from facegan.training.parameters import TrainParameters
from facegan.training.processes import World
from facegan.training.schedules import Schedule
from facegan.training.start import read_start

STEP_SUMS = ("loss_generator", "loss_discriminator", "real_logit", "fake_logit", "real_sign", "diversity", "steps")
COLUMNS = ("images_seen", *STEP_SUMS[:-1], "augment_strength")  # of losses.csv
GREY_LEVEL = 1 / 127.5  # of images in [-1, 1]
ADAPT_STEPS = 4  # the adaptive strength changes every fourth step (Karras et al. 2020)
PROGRESS_FACES = 36
NOT_IN_KEY = (
    "processes",
    "microbatch",
    "cuda_graph",
    "on_collapse",
    "start_from",
)  # no effect on the result; start_from: its files' hashes count

Tree = TypeVar("Tree")


class QuickScore(Protocol):
    """What scores a generator during training; see ``facegan.scoring.quick_score``. Training knows only this interface."""

    name: str

    def __call__(self, generator: nn.Module) -> float: ...


def take_rows(tree: Tree, rows: slice) -> Tree:
    """Returns nested tuples and dicts of tensors with only these rows of each."""
    return tree_map_only(Tensor, lambda tensor: tensor[rows], tree)


class Trainer:
    """The state of a run and one training step.

    Args:
        index: describes the training data.
        images: uint8 tensors (n, 3, H, W), one per shard.
        world: the processes that share each batch.
        labels: of a labelled data set, uint8 tensors (n, columns), one per shard.

    Attributes:
        size: height and width of the images that the networks see now; smaller than the resolution until a network has grown.
        images_seen: real images shown so far.
        seconds: training time, over all calls.
        rows: the history, as rows of losses.csv.
        rewinds: where training went back to an earlier state after infinite or NaN losses.
        code_changes: where a run was resumed although the code had changed.
        scores, best: quick scores, and the EMA weights of the best one.

    Raises:
        FaceganError: a model that does not support the resolution, or a batch size, penalty stride or microbatch that cannot be used.
    """

    def __init__(
        self,
        index: Index,
        images: list[Tensor],
        model: ModelParameters,
        parameters: TrainParameters,
        hardware: Hardware,
        world: World = World(),  # noqa: B008 (immutable)
        labels: Sequence[Tensor] = (),
    ):
        batch, device, objective = parameters.batch, hardware.device, OBJECTIVES[parameters.objective]
        if batch % world.size:
            raise FaceganError(
                f"train.batch: expected a multiple of the number of processes ({world.size}); found {batch}; change one of them"
            )
        self.index, self.model, self.parameters, self.hardware, self.world = index, model, parameters, hardware, world
        self.schedule = Schedule(parameters, index.resolution, index.train)
        augmentation = Augmentation(parameters.augment)
        self.game = Game(
            objective, parameters.penalty, parameters.penalty_interval, parameters.penalty_stride, augmentation, parameters.fresh_batch
        )

        torch.manual_seed(parameters.seed)
        place: dict[str, Any] = {"device": device, "memory_format": torch.channels_last}
        all_labels = torch.cat([*labels]) if labels else torch.empty(index.train, 0, dtype=torch.uint8)
        self.labels = summarize(index.labels, all_labels)
        self.generator: GeneratorNetwork = build_generator(model, index.resolution, self.labels).to(**place)
        self.discriminator: DiscriminatorNetwork = build_discriminator(model, index.resolution, self.labels).to(**place)
        self.discriminator.group_images = math.gcd(batch, self.discriminator.group_images)  # groups must fill the full batch
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        unshare_batch_norm(self.ema)  # only the main process uses it
        self.capturable = hardware.is_capturable
        betas = self.schedule.at(0).betas
        self.size, self.grow_images = index.resolution, getattr(model, "grow_images", ())
        grows = len(self.grow_images) > 0
        optimizer = partial(make_optimizer, name=parameters.optimizer, betas=betas, device=device, capturable=self.capturable, grows=grows)
        self.optimizers: dict[Network, torch.optim.Optimizer] = {
            network: optimizer(network.parameters()) for network in (self.generator, self.discriminator)
        }
        self.gamma, self.ema_decay, self.strength = (torch.zeros((), device=device) for _ in range(3))
        self.adaptive = torch.zeros(2, device=device)  # sums of signs and of steps since the strength was last adapted
        self.step_sums = torch.zeros(len(STEP_SUMS), device=device)  # since the last row of the history

        self.batches = Batches(images, all_labels, index.labels, parameters.order, parameters.seed, device)
        self.random = torch.Generator(device)  # for flips and latents
        self.order = self.random if device.type == "cpu" else torch.Generator()  # for the choice of images, which the host makes
        self.noise = torch.Generator(device)  # for everything else
        self.own_rows = world.rows(batch)
        generators = [self.random, self.noise]
        self.graphs = StepGraphs(self.run_updates, self.tensors, self.clear_gradients, generators, world) if hardware.uses_graph else None

        self.images_seen, self.seconds = 0, 0.0
        self.rows: list[dict[str, float]] = []
        self.rewinds: list[dict[str, int]] = []
        self.code_changes: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.collapse_detector = CollapseDetector(parameters.objective not in ("hinge", "wasserstein"), batch)
        self.quick_score: QuickScore | None = None
        self.scores: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.control_latents = seeded_latents(self.generator, PROGRESS_FACES, parameters.seed).to(device)
        self.calibration_latents = seeded_latents(self.generator, CALIBRATION_BATCHES * CALIBRATION_BATCH, derive_seed(parameters.seed, 1))
        self.start = read_start(parameters.start_from, self, model, index.resolution) if parameters.start_from else None

        share = self.own_rows.stop - self.own_rows.start
        check_networks(self.generator, self.discriminator, self.game.penalty_stride, share, world.size)
        self.set_microbatch(share if parameters.microbatch == "auto" else parameters.microbatch)

    def set_microbatch(self, size: int) -> None:
        """Sets the number of images that the networks process at the same time; this process's share of a batch is split accordingly."""
        share = self.own_rows.stop - self.own_rows.start
        unit = find_unit(self.generator, self.discriminator, self.game.penalty_stride, share)
        self.microbatch, self.pieces = min(size, share), split(share, size, unit)

    # One training step

    def train_step(self) -> None:
        """Updates both networks with the batch that follows the first ``images_seen`` images."""
        self.apply_schedule()
        seed = derive_seed(self.parameters.seed, self.images_seen, len(self.rewinds))
        for generator in (self.random, self.order):
            generator.manual_seed(seed)
        self.noise.manual_seed(derive_seed(seed, 0))
        images = self.fetch()
        before = read_default_generator(self.hardware.device)
        (self.graphs.run if self.graphs else self.run_updates)(images, self.is_penalized(self.images_seen))
        if read_default_generator(self.hardware.device) != before:
            raise FaceganError(
                f"expected the networks of {self.model.name} to use the random numbers of draw_noise; found that they draw their own "
                "(torch.randn, nn.Dropout, …), which would differ between microbatches and processes; see facegan/models/network.py"
            )
        self.images_seen += self.parameters.batch
        if self.hardware.device.type != "cpu":  # where the reader's OpenMP threads would compete with the step's, at half its speed
            following = torch.Generator().manual_seed(derive_seed(self.parameters.seed, self.images_seen, len(self.rewinds)))
            self.batches.read_ahead(lambda: self._choose_images(following))
        if self.parameters.augment_strength == "adaptive" and self.images_seen // self.parameters.batch % ADAPT_STEPS == 0:
            signs, steps = self.world.average(self.adaptive.clone())
            self.strength.copy_(adapt(self.strength, signs / steps, ADAPT_STEPS * self.parameters.batch))
            self.adaptive.zero_()

    def apply_schedule(self) -> None:
        """Sets the images' size, the learning rates and the other scheduled values for the next step."""
        values = self.schedule.at(self.images_seen)
        self.set_size(self.index.resolution >> sum(self.images_seen < images for images in self.grow_images))
        for network, lr in ((self.generator, values.generator_lr), (self.discriminator, values.discriminator_lr)):
            set_rates(self.optimizers[network], lr, values.betas)
        # the same function of smaller images has larger gradients: with this factor, its penalty stays the same
        self.gamma.fill_(values.gamma * (self.size / self.index.resolution) ** 2)
        self.ema_decay.fill_(values.ema_decay)
        if values.strength is not None:
            self.strength.fill_(values.strength)

    def set_size(self, size: int) -> None:
        """Sets the height and width of the images that the networks see."""
        if size != self.size and self.graphs:
            self.graphs.graphs.clear()  # they hold steps of the other size
        self.size = self.generator.size = size

    def is_penalized(self, images_seen: int) -> bool:
        """Returns whether the step after ``images_seen`` images has a gradient penalty."""
        return self.game.penalty != "none" and images_seen // self.parameters.batch % self.game.penalty_interval == 0

    def fetch(self) -> list[Tensor]:
        """Returns this process's share of the next real images, uint8 (B / processes, 3, H, W), then their labels, one-hot.

        With ``train.fresh_batch`` and a paired objective there are two of each.
        """
        chosen = self._choose_images(self.order)
        return [*map(self.batches.take, chosen), *map(self.batches.take_labels, chosen)]

    def _choose_images(self, order: torch.Generator) -> list[Tensor]:
        batch = self.parameters.batch
        chosen = [self.batches.choose(self.images_seen, batch)[self.own_rows]]
        if self.game.fresh_batch and self.game.objective.paired:
            chosen.append(torch.randint(self.batches.count, (batch,), generator=order)[self.own_rows])
        return chosen

    def run_updates(self, batches: list[Tensor], penalize: bool) -> None:
        """Updates both networks, the EMA and the sums. With a CUDA graph, this is what the graph holds. ``batches``: see ``fetch``."""
        images, labels = batches[: len(batches) // 2], batches[len(batches) // 2 :]
        game, values = self._choose_game(), Values(self.gamma, self.strength)
        # keeping every microbatch's autograd graph would need the memory that microbatches save
        generates_again = game.fresh_batch or len(self.pieces) > 1

        real, latents, noise = self._prepare(images[0]), self._draw_latents(labels[0]), self._draw_noise(self.generator)
        fake = self._generate(latents, noise, with_gradient=not generates_again)
        real_view, fake_view = self._draw_view(game), self._draw_view(game)
        inputs = Inputs(real, labels[0], latents, noise, fake, real_view, fake_view, *self._draw_extras(game, penalize))
        compute_loss: Callable[[Inputs], Losses] = partial(discriminator_loss, self.discriminator, game, values, penalize)
        judged = self._update(self.discriminator, compute_loss, inputs)

        diversity = self._measure_diversity(fake) / self._measure_diversity(real).clamp(min=GREY_LEVEL)
        if game.fresh_batch:
            real, latents, noise = self._prepare(images[-1]), self._draw_latents(labels[-1]), self._draw_noise(self.generator)
            self.generator.update_statistics(latents)
        fake_view = self._draw_view(game)
        real_view = self._draw_view(game) if game.objective.paired else fake_view
        inputs = Inputs(real, labels[-1], latents, noise, None if generates_again else fake, real_view, fake_view)
        compute_loss = partial(generator_loss, self.generator, self.discriminator, game, values)
        loss_generator = self._update(self.generator, compute_loss, inputs).loss

        update_ema(self.ema, self.generator, self.ema_decay)
        # the logits of a paired objective have no zero of their own: only differences count
        margin = judged.real_logits - judged.fake_logits if game.objective.paired else judged.real_logits  # (B,)
        sign, one = margin.sign().mean(), torch.ones_like(judged.loss)
        means = (judged.real_logits.mean(), judged.fake_logits.mean(), sign, diversity, one)  # in the order of STEP_SUMS
        self.step_sums += torch.stack([loss_generator, judged.loss, *means])
        self.adaptive += torch.stack([sign, one])

    def _update(self, network: Network, compute_loss: Callable[[Inputs], Losses], inputs: Inputs) -> Losses:
        """Takes one optimizer step, with gradients accumulated over microbatches and averaged over processes."""
        results = []
        for rows in self.pieces:
            with self.autocast(), parametrize.cached():  # all passes share one power iteration of the spectral norm
                losses = compute_loss(inputs if len(self.pieces) == 1 else take_rows(inputs, rows))
            part = (rows.stop - rows.start) / len(inputs.real)
            loss = losses.loss if part == 1 else part * losses.loss  # losses and penalties are means over images
            loss.backward()
            results.append(losses._replace(loss=loss.detach()))
        self.world.average_gradients(network.parameters())
        apply_gradients(self.optimizers[network], self.parameters.clip_value)
        if len(results) == 1:
            return results[0]
        loss_parts, real_logits, fake_logits = zip(*results, strict=True)
        return Losses(torch.stack(loss_parts).sum(), torch.cat(real_logits), torch.cat(fake_logits))

    def _generate(self, latents: Tensor, noise: Noise, with_gradient: bool) -> Tensor:
        """Returns generated images (B, 3, H, W) in float32."""
        self.generator.update_statistics(latents)
        fakes = []
        for rows in self.pieces:
            with self.autocast(), torch.set_grad_enabled(with_gradient):
                fakes.append(self.generator(latents[rows], take_rows(noise, rows)).float())
        return fakes[0] if len(fakes) == 1 else torch.cat(fakes)

    def autocast(self) -> torch.autocast:
        """Returns the context in which networks run."""
        dtype = self.hardware.precision
        return torch.autocast(self.hardware.device.type, dtype, enabled=dtype != torch.float32)

    def _choose_game(self) -> Game:
        """Returns the game, without augmentation at strength 0, where it would take two fifths of a small network's time for nothing."""
        reads_strength = not self.capturable and self.hardware.device.type == "cpu"  # elsewhere, reading it means waiting
        return (
            dataclasses.replace(self.game, augmentation=Augmentation("none")) if reads_strength and self.strength.item() == 0 else self.game
        )

    def _prepare(self, images: Tensor) -> Tensor:
        """Returns uint8 images as floats in [-1, 1], at the current size, half of them mirrored if ``train.flip`` is set."""
        images = from_bytes(images).contiguous(memory_format=torch.channels_last)
        if self.size < self.index.resolution:
            images = functional.avg_pool2d(images, self.index.resolution // self.size)
        if not self.parameters.flip:
            return images
        chosen = torch.rand(self.parameters.batch, generator=self.random, device=images.device)[self.own_rows] < 0.5
        return torch.where(chosen[:, None, None, None], images.flip(3), images)  # (B, 3, H, W)

    def _draw_latents(self, labels: Tensor) -> Tensor:
        latents = draw_latents(self.generator, self.parameters.batch, self.random)[self.own_rows]
        return torch.cat([latents, labels], 1) if self.labels.columns else latents  # (B, input_size)

    def _draw_noise(self, network: Network) -> Noise:
        return take_rows(network.draw_noise(self.parameters.batch, self.noise, self.hardware.precision), self.own_rows)

    def _draw_view(self, game: Game) -> View:
        numbers = game.augmentation.draw(self.parameters.batch, self.size, self.noise)
        return View(take_rows(numbers, self.own_rows), self._draw_noise(self.discriminator))

    def _draw_extras(self, game: Game, penalize: bool) -> tuple[Tensor | None, Tensor | None, View | None]:
        """Returns what only some objectives and penalties need: label noise (B, 2), and WGAN-GP's shares (B, 1, 1, 1) and view."""
        batch, device = self.parameters.batch, self.hardware.device
        label_noise = torch.rand((2, batch), generator=self.noise, device=device).T[self.own_rows] if game.objective.noisy else None
        if not penalize or game.penalty != "wgan_gp":
            return label_noise, None, None
        share = torch.rand((batch, 1, 1, 1), generator=self.noise, device=device)[self.own_rows]
        return label_noise, share, self._draw_view(game)

    def _measure_diversity(self, images: Tensor) -> Tensor:
        """Returns the standard deviation over the full batch, as a mean over pixels.

        Every fourth row and column is enough, and saves 2% of a step's time on a CPU.
        """
        images = images.detach()[:, :, ::4, ::4]
        if self.world.size == 1:
            return images.std(0).mean()
        mean = self.world.average(images.mean(0))
        variance = self.world.average((images - mean).square().mean(0)) * self.parameters.batch / (self.parameters.batch - 1)
        return variance.sqrt().mean()

    def clear_gradients(self) -> None:
        """Removes the gradients that an interrupted step has left."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()

    # State

    def ema_generator(self) -> GeneratorNetwork:
        """Returns the generator with averaged weights, in evaluation mode, ready to generate images."""
        generator = self.ema.eval()
        recalibrate_batch_norm(generator, self.calibration_latents.to(self.hardware.device))
        return generator

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor that a step changes, by name. They are only changed in place, as CUDA graphs require."""
        networks: dict[str, Network] = {"generator": self.generator, "discriminator": self.discriminator, "ema": self.ema}
        result = {f"{role}.{name}": value for role, network in networks.items() for name, value in network.state_dict().items()}
        for role in ("generator", "discriminator"):
            optimizer = self.optimizers[networks[role]]
            for number, parameter in enumerate(networks[role].parameters()):
                result |= {f"{role}.optimizer.{number}.{name}": value for name, value in optimizer.state[parameter].items()}
        return {**result, "strength": self.strength, "adaptive": self.adaptive, "step_sums": self.step_sums}

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that a resumed run needs: weights and optimizer states of both networks, EMA, counters and history.

        There are no states of random generators: those follow from seed, images_seen and the number of rewinds. The generator's card is
        included, so that a checkpoint can be opened as a generator.
        """
        return {
            "card": write_card(self.make_card(self.images_seen)),
            "tensors": self.tensors(),
            "images_seen": self.images_seen,
            "microbatch": self.microbatch if len(self.pieces) > 1 else None,
            "seconds": self.seconds,
            "rows": self.rows,
            "rewinds": self.rewinds,
            "code_changes": self.code_changes,
            "warnings": self.warnings,
            "collapse_detector": self.collapse_detector.memory,
            "scores": self.scores,
            "best": self.best,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores a state; tensors are copied in place."""
        for name, value in self.tensors().items():
            value.copy_(state["tensors"][name])
        if self.parameters.microbatch == "auto" and state["microbatch"]:  # for byte-identical results, unless there is less memory now
            self.set_microbatch(min(self.microbatch, state["microbatch"]))
        for name in ("images_seen", "seconds", "rows", "rewinds", "code_changes", "warnings", "scores", "best"):
            setattr(self, name, state[name])
        self.collapse_detector.memory = state["collapse_detector"]

    def ingredients(self) -> dict[str, Any]:
        """Returns everything that the result depends on, by kind; without the number of images, unless a schedule depends on it."""
        excluded = {*NOT_IN_KEY, *([] if self.schedule.depends_on_length else ["images"])}
        train = {key: value for key, value in self.parameters.as_plain().items() if key not in excluded}
        hardware = {"device": self.hardware.device.type, "precision": str(self.hardware.precision)}
        parameters = {"model": self.model.as_plain(), "train": train | {"start_from": self.start}, "hardware": hardware}
        return {"parameters": parameters, "code": hash_code(), "data": self.index.fingerprint}

    def make_card(self, images_seen: int) -> Card:
        """Returns the metadata of a generator's file."""
        return Card(
            model=self.model.name,
            arguments=self.model.model_dump(mode="json", exclude={"name"}),
            resolution=self.index.resolution,
            latent_size=self.generator.latent_size,
            labels=self.labels if self.labels.columns else None,
            images_seen=images_seen,
            data_fingerprint=self.index.fingerprint,
            parameters_fingerprint=hash_of(self.ingredients()["parameters"]),
        )


def read_default_generator(device: torch.device) -> bytes:
    """Returns the state of the random generator that operations on the device use when they are given none."""
    get_state = {"cuda": torch.cuda.get_rng_state, "mps": torch.mps.get_rng_state}.get(device.type, torch.get_rng_state)
    return get_state().numpy().tobytes()
