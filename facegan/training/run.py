"""One training run: its parameters, what changes in it, and what is done at each turn of the loop.

In: uint8 images, a model, ``TrainParameters``. ``facegan.training.loop`` is the loop over it.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from facegan.common.pictures import make_grid
from facegan.common.shards import Index
from facegan.models.generator_file import Card, save_generator, write_card
from facegan.models.latents import generate_images, seeded_latents
from facegan.models.parameters import ModelParameters
from facegan.training.augmentation import Augmentation
from facegan.training.batches import Batches, mix
from facegan.training.checkpoint import hash_code, hash_of
from facegan.training.collapse import CollapseDetector
from facegan.training.distributed import World
from facegan.training.ema import CALIBRATION_BATCH, CALIBRATION_BATCHES, decay_factor, recalibrate_batch_norm
from facegan.training.engine import STEP_SUMS, Engine, Hardware, Settings
from facegan.training.game import Game
from facegan.training.history import COLUMNS
from facegan.training.losses import OBJECTIVES
from facegan.training.microbatch import fit
from facegan.training.networks import Networks
from facegan.training.parameters import TrainParameters
from facegan.training.schedules import Setting, gamma_for, value_at
from facegan.training.start import read_start

ROWS_BEFORE = 32  # a row of losses.csv stands for no more than such a part of what was seen before it,
ROW_IMAGES = 10_000  # and never for more than so many images
PROGRESS_FACES = 36
KERAS_LR_DECAY = 1e-8  # a step: the Keras tutorial's
QUICK_SCORE_IMAGES = 200
HOW_NOT_WHAT = ("processes", "microbatch", "cuda_graph", "on_collapse")  # parameters that leave the outcome as it is
JUDGED = ("loss_generator", "loss_discriminator")  # numbers of a step that training lives on; the others are for the reader alone


class QuickScore(Protocol):
    """What scores a generator while it trains; see ``facegan.scoring.quick_score``. Training is handed one, and knows no other."""

    name: str

    def __call__(self, generator: torch.nn.Module) -> float: ...


OpenQuickScore = Callable[[torch.Tensor, int, torch.device], QuickScore]  # real images (N, 3, H, W) in uint8, seed, device


class Training:
    """One run: what changes in it, and what is done at each turn of the loop."""

    def __init__(
        self,
        index: Index,
        images: list[torch.Tensor],
        model: ModelParameters,
        parameters: TrainParameters,
        hardware: Hardware,
        world: World,
        open_quick_score: OpenQuickScore,
    ):
        self.parameters, self.model, self.hardware, self.world = parameters, model, hardware, world
        self.index = index
        self.game = Game(
            OBJECTIVES[parameters.objective],
            parameters.penalty,
            parameters.penalty_interval,
            parameters.penalty_stride,
            Augmentation(parameters.augment),
            parameters.fresh_batch,
        )
        torch.manual_seed(parameters.seed)
        self.networks = Networks(
            model,
            self.index.resolution,
            parameters.optimizer,
            (parameters.betas[0], value_at(parameters.betas[1], 0, parameters.schedule_images)),
            parameters.clip_value,
            hardware.device,
            hardware.is_capturable,
        )
        batches = Batches(images, parameters.order, parameters.seed, hardware.device)
        microbatch = None if parameters.microbatch == "auto" else parameters.microbatch
        self.engine = Engine(
            self.networks, self.game, batches, hardware, world, parameters.batch, parameters.flip, parameters.seed, microbatch
        )
        self.collapse_detector = CollapseDetector(parameters.objective not in ("hinge", "wasserstein"), parameters.batch)
        self.control_latents = seeded_latents(self.networks.generator, PROGRESS_FACES, parameters.seed).to(hardware.device)
        self.calibration_latents = seeded_latents(self.networks.generator, CALIBRATION_BATCHES * CALIBRATION_BATCH, mix(parameters.seed, 1))
        self.images_seen = 0
        if parameters.microbatch == "auto" and hardware.device.type == "cuda":
            self.engine.set_microbatch(fit(self.engine, self.settings()))
        self.seconds = 0.0
        self.rows: list[dict[str, float]] = []
        self.rewinds: list[dict[str, int]] = []
        self.warnings: list[str] = []
        self.scores: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}
        self.start = read_start(parameters.start_from, self.networks, model, index.resolution) if parameters.start_from else None
        self.quick_score = self.make_quick_score(images, open_quick_score) if parameters.score_every_images and world.is_main else None

    def make_quick_score(self, images: list[torch.Tensor], open_quick_score: OpenQuickScore) -> QuickScore:
        """Returns what scores the averaged generator against a fixed sample, the first training images."""
        sample, count = [], QUICK_SCORE_IMAGES
        for shard in images:
            sample.append(shard[: count - sum(map(len, sample))])
        return open_quick_score(torch.cat(sample), self.parameters.seed, self.hardware.device)

    def ingredients(self) -> dict[str, Any]:
        """Returns all that the outcome depends on, by kind, but for the number of images where no schedule counts on it."""
        apart = {*HOW_NOT_WHAT, "start_from", *([] if self.counts_on_length() else ["images"])}
        train = {key: value for key, value in self.parameters.as_plain().items() if key not in apart}
        hardware = {"device": self.hardware.device.type, "precision": str(self.hardware.precision)}
        parameters = {"model": self.model.as_plain(), "train": train | {"start_from": self.start}, "hardware": hardware}
        return {"parameters": parameters, "code": hash_code(), "data": self.index.fingerprint}

    def counts_on_length(self) -> bool:
        """Returns whether a longer run would take other steps from the beginning on: γ "auto" falls over the whole of a run without a schedule."""
        return self.parameters.schedule_images is None and isinstance(self.gamma(), tuple)

    @property
    def end(self) -> int:
        """How many images have been seen when the budget is spent, in whole steps."""
        return math.ceil(self.parameters.images / self.parameters.batch) * self.parameters.batch

    def is_over(self) -> bool:
        """Returns whether the budget of real images is spent."""
        return self.images_seen >= self.end

    def is_due(self, every_images: int) -> bool:
        """Returns whether something that happens every so many images (in whole steps) happens now, in a run of any length."""
        return self.images_seen % (math.ceil(every_images / self.parameters.batch) * self.parameters.batch) == 0

    def is_row_due(self) -> bool:
        """Returns whether a row of losses.csv is due: after every step at first, then every second, fourth …, in a run of any length."""
        steps = self.images_seen // self.parameters.batch
        spacing = max(1, min(steps // ROWS_BEFORE, ROW_IMAGES // self.parameters.batch))
        return steps % 2 ** (spacing.bit_length() - 1) == 0  # the largest power of two that is no more

    def step(self) -> None:
        """Both networks move once."""
        self.engine.step(self.images_seen, draw=len(self.rewinds), settings=self.settings())
        self.images_seen += self.parameters.batch

    def settings(self) -> Settings:
        """Returns the schedules' numbers at this point."""
        parameters, seen = self.parameters, self.images_seen
        over = parameters.schedule_images
        lr = value_at(parameters.lr, seen, over)
        if parameters.optimizer == "rmsprop":
            lr /= 1 + KERAS_LR_DECAY * (seen // parameters.batch)
        strength = parameters.augment_strength
        return Settings(
            generator_lr=lr,
            discriminator_lr=lr * parameters.discriminator_lr_ratio,
            betas=(parameters.betas[0], value_at(parameters.betas[1], seen, over)),
            gamma=value_at(self.gamma(), seen, over or parameters.images),
            strength=None if strength == "adaptive" else value_at(strength, seen, over),
            ema_decay=decay_factor(parameters.batch, value_at(parameters.ema_halflife_images, seen, over)),
        )

    def gamma(self) -> Setting:
        """Returns the penalty's weight: the parameter, or what "auto" stands for."""
        parameters = self.parameters
        if parameters.gamma == "auto":
            return gamma_for(self.index.resolution, self.index.train, parameters.penalty, parameters.batch)
        return parameters.gamma

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

    def complete(self) -> None:
        """Adds what the end brings beside what was due anyway: a row and a quick score for the rest. All processes take part.

        The checkpoint of the end is written before, so that a longer run goes on without them.
        """
        if not self.rows or self.rows[-1]["images_seen"] < self.images_seen:
            self.add_row()
        if self.quick_score and (not self.scores or self.scores[-1]["images_seen"] < self.images_seen):
            self.add_score()

    def is_finite(self) -> bool:
        """Returns whether every number that training lives on is finite; the same in all processes."""
        tensors = {name: value for name, value in self.engine.tensors().items() if name != "step_sums" and value.is_floating_point()}
        losses = self.world.average(self.engine.step_sums.clone())[[STEP_SUMS.index(name) for name in JUDGED]]
        norms = torch._foreach_norm([*tensors.values(), losses])
        return bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all())

    def ema_generator(self) -> torch.nn.Module:
        """Returns the averaged generator, ready to be looked at."""
        generator = self.networks.ema.eval()
        recalibrate_batch_norm(generator, self.calibration_latents.to(self.hardware.device))
        return generator

    def draw_picture(self) -> Any:
        """Returns a grid of faces from the control latents, the same ones each time, as (H, W, 3) uint8."""
        generator = self.ema_generator()
        faces = torch.cat([generate_images(generator, latents) for latents in self.control_latents.split(CALIBRATION_BATCH)])
        return make_grid(faces, columns=math.ceil(math.sqrt(len(faces))))

    def state(self) -> dict[str, Any]:
        """Returns everything that a resumed run needs, and the generator's card, so that a checkpoint alone makes faces."""
        return {
            "card": write_card(self.make_card(self.images_seen)),
            "tensors": self.engine.tensors(),
            "images_seen": self.images_seen,
            "microbatch": self.engine.microbatch if len(self.engine.pieces) > 1 else None,
            "seconds": self.seconds,
            "rows": self.rows,
            "rewinds": self.rewinds,
            "warnings": self.warnings,
            "collapse_detector": self.collapse_detector.memory,
            "scores": self.scores,
            "best": self.best,
        }

    def find_fault(self, state: dict[str, Any]) -> str | None:
        """Returns why ``load_state`` cannot take a state, which may come from anywhere, or None."""
        own = self.state()
        for name, value in own.items():
            if not isinstance(state.get(name), type(value)):
                return f"expected a checkpoint of this run; found another ({name})"
        if state["card"] != write_card(self.make_card(state["images_seen"])):
            return "expected a checkpoint of this run; found another run's"
        if not all(isinstance(row, dict) and row.keys() == set(COLUMNS) for row in state["rows"]):
            return "expected a checkpoint of this run; found another (rows)"
        for name, value in own["tensors"].items():
            theirs = state["tensors"].get(name)
            if not isinstance(theirs, torch.Tensor) or theirs.shape != value.shape:
                return f"expected a checkpoint of this run; found another ({name})"
        return None

    def load_state(self, state: dict[str, Any]) -> None:
        """Becomes what it was when the state was taken; tensors are copied into their places."""
        for name, value in self.engine.tensors().items():
            value.copy_(state["tensors"][name])
        self.images_seen, self.seconds = state["images_seen"], state["seconds"]
        if self.parameters.microbatch == "auto" and state["microbatch"]:  # as it began, for the same bytes, unless less memory is there now
            self.engine.set_microbatch(min(self.engine.microbatch, state["microbatch"]))
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
        """Writes generator.safetensors, best.safetensors where quick scores were taken, and the discriminator for runs that start from here."""
        generator = self.ema_generator()
        save_generator(folder / "generator.safetensors", generator, self.make_card(self.images_seen))
        save_generator(folder / "discriminator.safetensors", self.networks.discriminator, self.make_card(self.images_seen))
        if self.best:
            best = min(self.scores, key=lambda row: row["score"])
            generator.load_state_dict(self.best)
            save_generator(folder / "best.safetensors", generator, self.make_card(best["images_seen"]))

    def make_card(self, images_seen: int) -> Card:
        """Returns what a generator's file says about it."""
        return Card(
            model=self.model.name,
            arguments=self.model.model_dump(exclude={"name"}),
            resolution=self.index.resolution,
            latent_size=self.networks.generator.latent_size,
            images_seen=images_seen,
            data_fingerprint=self.index.fingerprint,
            parameters_fingerprint=hash_of(self.ingredients()["parameters"]),
        )
