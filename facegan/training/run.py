"""One training run: its parameters, what changes in it, and what is done at each turn of the loop.

In: shards of uint8 images, a model, ``TrainParameters``. ``facegan.training.loop`` is the loop over it.
"""

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import torch

from facegan.common.config import Above, AtLeast, Between, as_plain
from facegan.common.errors import FaceganError
from facegan.common.pictures import make_grid, to_bytes
from facegan.common.shards import Index, open_split, read_index
from facegan.models.generator_file import Card, save_generator
from facegan.models.latents import seeded_latents
from facegan.training.augmentation import Augmentation
from facegan.training.batches import Batches, mix
from facegan.training.checkpoint import hash_code, hash_of
from facegan.training.collapse import CollapseDetector
from facegan.training.distributed import World
from facegan.training.ema import CALIBRATION_BATCH, CALIBRATION_BATCHES, decay_factor, recalibrate_batch_norm
from facegan.training.engine import STEP_SUMS, Engine, Hardware, Settings
from facegan.training.game import Game
from facegan.training.losses import OBJECTIVES
from facegan.training.networks import Networks
from facegan.training.schedules import gamma_for, value_at

Rate = Annotated[float, Above(0)]
Share = Annotated[float, Between(0, 1)]
Amount = Annotated[float, AtLeast(0)]

ROWS = 200  # of losses.csv; in long runs more, so that none stands for over ROW_IMAGES
ROW_IMAGES = 10_000
HOW_NOT_WHAT = ("processes", "checkpoint_seconds", "on_collapse")  # parameters that leave the outcome as it is


@dataclasses.dataclass(frozen=True)
class TrainParameters:
    """The section ``train``. A pair [start, end] runs along a cosine over ``schedule_images``, then stays.

    Attributes:
        objective: both networks' losses; see ``facegan.training.losses``.
        penalty, gamma, penalty_interval: the gradient penalty, its weight ("auto": from resolution and data), and how often.
        optimizer, lr, discriminator_lr_ratio, lr_decay, beta1, beta2, clip_value: the generator's learning rate is
            lr / (1 + lr_decay · steps), the discriminator's so many times that; beta1 and beta2 are Adam's.
        batch, images: real images a step, and in all.
        fresh_batch: the generator's move gets images of its own.
        order, flip: of the training images.
        augment, augment_strength: what the discriminator sees; see ``facegan.training.augmentation``.
        ema_halflife_images: the average forgets half in so many images.
        progress_images, progress_count: a picture of so many faces every so many images.
        seed, device, precision, processes, deterministic: how it runs.
        score_every_images, score_sample, score_extractor: a quick score of so many faces every so many images (null: none);
            the best-scoring weights are kept beside the last. See ``facegan.scoring.quick_score``.
        checkpoint_seconds: between two checkpoints, at least.
        max_rewinds: how often to go back when numbers explode.
        on_collapse: what to do about a collapse.
    """

    objective: Literal[tuple(OBJECTIVES)]
    penalty: Literal["none", "r1", "r1_r2", "wgan_gp"]
    gamma: Literal["auto"] | Amount | tuple[Amount, Amount]
    penalty_interval: Annotated[int, AtLeast(1)]
    optimizer: Literal["adam", "rmsprop"]
    lr: Rate | tuple[Rate, Rate]
    discriminator_lr_ratio: Rate
    lr_decay: Amount
    beta1: Share
    beta2: Share | tuple[Share, Share]
    clip_value: Rate | None
    schedule_images: Annotated[int, AtLeast(1)] | None
    batch: Annotated[int, AtLeast(2)]
    images: Annotated[int, AtLeast(1)]
    fresh_batch: bool
    order: Literal["shuffled", "in_order"]
    flip: bool
    augment: str
    augment_strength: Literal["adaptive"] | Share | tuple[Share, Share]
    ema_halflife_images: Amount | tuple[Amount, Amount]
    progress_images: Annotated[int, AtLeast(1)]
    progress_count: Annotated[int, AtLeast(1)]
    score_every_images: Annotated[int, AtLeast(1)] | None
    score_sample: Annotated[int, AtLeast(20)]
    score_extractor: str
    seed: Annotated[int, AtLeast(0)]
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "bf16"]
    processes: Annotated[int, AtLeast(1)]
    deterministic: bool
    checkpoint_seconds: Annotated[float, AtLeast(0)]
    max_rewinds: Annotated[int, AtLeast(0)]
    on_collapse: Literal["stop", "warn"]

    def problems(self) -> Iterator[str]:
        """Yields what the fields do wrong together."""
        for name in ("gamma", "lr", "beta2", "augment_strength", "ema_halflife_images"):
            if isinstance(getattr(self, name), tuple) and self.schedule_images is None:
                yield f"{name}: expected one number, or schedule_images to run a pair over; found a pair alone"
        if self.batch % self.processes:
            yield f"batch: expected a multiple of processes ({self.processes}); found {self.batch}"
        if self.penalty == "none" and self.gamma not in ("auto", 0.0):
            yield f"gamma: expected 0 without a penalty; found {self.gamma}"
        try:
            Augmentation(self.augment)
        except FaceganError as error:
            yield str(error).removeprefix("train.")


class Training:
    """One run: what changes in it, and what is done at each turn of the loop."""

    def __init__(self, shards: Path, model: tuple[str, Any], parameters: TrainParameters, hardware: Hardware, world: World):
        self.parameters, self.model, self.hardware, self.world = parameters, model, hardware, world
        self.index: Index = read_index(shards)
        images = open_split(shards, "train")
        if not images:
            raise FaceganError(f"expected training images in {shards}; found none; look at its report.json")
        self.game = Game(
            OBJECTIVES[parameters.objective], parameters.penalty, parameters.penalty_interval, Augmentation(parameters.augment), parameters.fresh_batch
        )
        torch.manual_seed(parameters.seed)
        self.networks = Networks(
            model,
            self.index.resolution,
            parameters.optimizer,
            (parameters.beta1, value_at(parameters.beta2, 0, parameters.schedule_images)),
            parameters.clip_value,
            hardware.device,
            hardware.uses_graph,
        )
        batches = Batches(images, parameters.order, parameters.seed, hardware.device)
        self.engine = Engine(self.networks, self.game, batches, hardware, world, parameters.batch, parameters.flip, parameters.seed)
        self.collapse_detector = CollapseDetector(parameters.objective not in ("hinge", "wasserstein"), parameters.batch)
        self.control_latents = seeded_latents(self.networks.generator, parameters.progress_count, parameters.seed).to(hardware.device)
        self.calibration_latents = seeded_latents(self.networks.generator, CALIBRATION_BATCHES * CALIBRATION_BATCH, mix(parameters.seed, 1))
        self.row_images = max(1, min(ROW_IMAGES, parameters.images // ROWS))
        self.images_seen = 0
        self.seconds = 0.0
        self.rows: list[dict[str, float]] = []
        self.rewinds: list[dict[str, int]] = []
        self.warnings: list[str] = []
        self.scores: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.quick_score = self.make_quick_score(images) if parameters.score_every_images and world.is_main else None

    def make_quick_score(self, images: list[torch.Tensor]) -> Any:
        """Returns what scores the averaged generator against a fixed sample, the first training images."""
        from facegan.scoring.quick_score import QuickScore

        sample, count = [], self.parameters.score_sample
        for shard in images:
            sample.append(shard[: count - sum(map(len, sample))])
        return QuickScore(torch.cat(sample), self.parameters.score_extractor, self.parameters.seed, self.hardware.device)

    def ingredients(self) -> dict[str, Any]:
        """Returns all that the outcome depends on, by kind."""
        name, arguments = self.model
        train = {key: value for key, value in as_plain(self.parameters) if key not in HOW_NOT_WHAT}
        hardware = {"device": self.hardware.device.type, "precision": str(self.hardware.precision)}
        parameters = {"model": {"name": name, **dict(as_plain(arguments))}, "train": train, "hardware": hardware}
        return {"parameters": parameters, "code": hash_code(sys.modules), "data": self.index.fingerprint}

    def is_over(self) -> bool:
        """Returns whether the budget of real images is spent."""
        return self.images_seen >= self.parameters.images

    def is_due(self, every_images: int) -> bool:
        """Returns whether something that happens every so many images (in whole steps), and at the end, happens now."""
        period = math.ceil(every_images / self.parameters.batch) * self.parameters.batch
        return self.images_seen % period == 0 or self.is_over()

    def step(self) -> None:
        """Both networks move once."""
        self.engine.step(self.images_seen, draw=len(self.rewinds), settings=self.settings())
        self.images_seen += self.parameters.batch

    def settings(self) -> Settings:
        """Returns the schedules' numbers at this point."""
        parameters, seen = self.parameters, self.images_seen
        over = parameters.schedule_images
        lr = value_at(parameters.lr, seen, over) / (1 + parameters.lr_decay * (seen // parameters.batch))
        gamma = parameters.gamma
        if gamma == "auto":
            gamma = gamma_for(self.index.resolution, self.index.train, parameters.penalty, parameters.batch)
        strength = parameters.augment_strength
        return Settings(
            generator_lr=lr,
            discriminator_lr=lr * parameters.discriminator_lr_ratio,
            betas=(parameters.beta1, value_at(parameters.beta2, seen, over)),
            gamma=value_at(gamma, seen, over or parameters.images),
            strength=None if strength == "adaptive" else value_at(strength, seen, over),
            ema_decay=decay_factor(parameters.batch, value_at(parameters.ema_halflife_images, seen, over)),
        )

    def add_row(self) -> dict[str, float]:
        """Adds the mean of what happened since the last row to the history, and returns it."""
        sums = dict(zip(STEP_SUMS, self.world.average(self.engine.step_sums.clone()).tolist(), strict=True))
        steps = sums.pop("steps")
        row = {"images_seen": self.images_seen, **{name: value / steps for name, value in sums.items()}}
        row["augment_strength"] = float(self.engine.strength)
        self.engine.step_sums.zero_()
        self.rows.append(row)
        return row

    def add_score(self) -> None:
        """Adds a quick score to the history, and keeps the averaged weights when they are the best so far."""
        generator = self.ema_generator()
        score = self.quick_score(generator)
        if all(score < row["score"] for row in self.scores):
            self.best = {name: value.clone() for name, value in generator.state_dict().items()}
        self.scores.append({"images_seen": self.images_seen, "score": score})

    def is_finite(self) -> bool:
        """Returns whether every number that training has made is finite; the same in all processes, whose numbers agree."""
        norms = torch._foreach_norm([value for value in self.engine.tensors().values() if value.is_floating_point()])
        return bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all())

    def ema_generator(self) -> torch.nn.Module:
        """Returns the averaged generator, ready to be looked at."""
        generator = self.networks.ema.eval()
        recalibrate_batch_norm(generator, self.calibration_latents.to(self.hardware.device))
        return generator

    def draw_picture(self) -> Any:
        """Returns a grid of faces from the control latents, the same ones each time, as (H, W, 3) uint8."""
        generator = self.ema_generator()
        with torch.no_grad():
            faces = torch.cat([generator(latents) for latents in self.control_latents.split(CALIBRATION_BATCH)])
        return make_grid(to_bytes(faces), columns=math.ceil(math.sqrt(len(faces))))

    def state(self) -> dict[str, Any]:
        """Returns everything that a resumed run needs."""
        return {
            "tensors": self.engine.tensors(),
            "images_seen": self.images_seen,
            "seconds": self.seconds,
            "rows": self.rows,
            "rewinds": self.rewinds,
            "warnings": self.warnings,
            "collapse_detector": self.collapse_detector.memory,
            "scores": self.scores,
            "best": self.best,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Becomes what it was when the state was taken; tensors are copied into their places."""
        for name, value in self.engine.tensors().items():
            value.copy_(state["tensors"][name])
        self.images_seen, self.seconds = state["images_seen"], state["seconds"]
        self.rows, self.rewinds, self.warnings = state["rows"], state["rewinds"], state["warnings"]
        self.collapse_detector.memory = state["collapse_detector"]
        self.scores, self.best = state["scores"], state["best"]

    def share_state(self) -> None:
        """Gives all processes the first one's state; the best weights stay with that one, which writes them."""
        tensors, best = self.engine.tensors(), self.best
        facts = {key: value for key, value in self.state().items() if key not in ("tensors", "best")}
        facts = self.world.broadcast(facts, tensors.values())
        self.load_state({"tensors": tensors, "best": best, **facts})

    def save_generators(self, folder: Path) -> None:
        """Writes generator.safetensors, and best.safetensors where quick scores were taken."""
        generator = self.ema_generator()
        save_generator(folder / "generator.safetensors", generator, self.make_card(self.images_seen))
        if self.best:
            best = min(self.scores, key=lambda row: row["score"])
            generator.load_state_dict(self.best)
            save_generator(folder / "best.safetensors", generator, self.make_card(best["images_seen"]))

    def make_card(self, images_seen: int) -> Card:
        """Returns what a generator's file says about it."""
        name, arguments = self.model
        return Card(
            model=name,
            arguments=dict(as_plain(arguments)),
            resolution=self.index.resolution,
            latent_size=self.networks.generator.latent_size,
            images_seen=images_seen,
            data_fingerprint=self.index.fingerprint,
            parameters_fingerprint=hash_of(self.ingredients()["parameters"]),
        )
