"""The section ``train`` of the parameters."""

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt, MinLen
from pydantic import Strict

from facegan.common.config import ImageCount, Number, Section, Seed, WholeNumber, find_path_problems, suggest

AUGMENTATIONS = ("color", "flip", "translation", "fractional_translation", "rotation", "scale", "cutout")

Rate = Annotated[Number, Ge(1e-9), Le(10)]
Share = Annotated[Number, Ge(0), Le(1)]
Decay = Annotated[Number, Ge(0), Lt(1)]
Amount = Annotated[Number, Ge(0), Le(1e6)]
Halflife = Annotated[Number, Ge(0), Le(1e10)]
# [start, end]; a list in YAML
RatePair = Annotated[tuple[Rate, Rate], Strict(False)]
SharePair = Annotated[tuple[Share, Share], Strict(False)]
DecayPair = Annotated[tuple[Decay, Decay], Strict(False)]
AmountPair = Annotated[tuple[Amount, Amount], Strict(False)]
HalflifePair = Annotated[tuple[Halflife, Halflife], Strict(False)]


class TrainParameters(Section):
    """How a generator is trained. A pair [start, end] follows a cosine over ``schedule_images`` and then stays at its end.

    Attributes:
        objective: the losses of both networks; see ``facegan.training.losses``.
        penalty: the penalty on the discriminator's gradient: r1 at real images, r1_r2 at real and generated ones, wgan_gp between them.
        gamma: the weight of the penalty ("auto": from the resolution and the number of images).
        penalty_interval: the penalty is computed in every n-th step, with n times the weight; larger is cheaper.
        penalty_stride: the penalty is computed for every n-th image of each step; larger is cheaper.
        optimizer: adam, or rmsprop as in Keras, including its decay of the rate.
        lr: learning rate of the generator.
        discriminator_lr_ratio: the discriminator's learning rate is ``lr`` times this ratio.
        betas: Adam's two decay rates; the second one is a number or a pair.
        clip_value: gradients are clipped to ±clip_value (null: not).
        schedule_images: length of the schedules of all pairs (null: no pairs).
        batch: real images per step.
        images: real images shown in total; time is proportional to it.
        start_from: the model folder of an earlier run whose networks are loaded first (null: random weights).
        fresh_batch: the generator's update uses its own images, not those of the discriminator's update; slower.
        order: order of the training images.
        flip: half of the training images are mirrored.
        augment: augmentation of what the discriminator sees: none, full, or names separated by commas; see
            ``facegan.training.augmentation``.
        augment_strength: the probability of each transformation, or adaptive.
        ema_halflife_images: the moving average halves the weight of the past in this number of images.
        progress_images: images between two progress pictures.
        score_every_images: images between two quick scores (null: none); the best-scoring weights are kept next to the last.
        seed: random seed of the training.
        device: where to compute ("auto": a GPU if there is one).
        precision: number format of convolutions ("auto": bf16 if the hardware supports it).
        processes: processes on this machine, one per GPU; each takes an equal part of the batch.
        microbatch: images that the networks process at the same time ("auto": as many as fit into a GPU's memory).
        cuda_graph: whether a CUDA GPU replays steps from graphs ("auto") or runs them eagerly ("off").
        on_collapse: whether a collapse stops the training or is only reported.
    """

    objective: Literal["non_saturating", "minimax", "hinge", "wasserstein", "relativistic", "noisy_labels"]
    penalty: Literal["none", "r1", "r1_r2", "wgan_gp"]
    gamma: Literal["auto"] | Amount | AmountPair
    penalty_interval: Annotated[WholeNumber, Ge(1), Le(1_000_000)]
    penalty_stride: Annotated[WholeNumber, Ge(1), Le(65_536)]
    optimizer: Literal["adam", "rmsprop"]
    lr: Rate | RatePair
    discriminator_lr_ratio: Annotated[Number, Ge(1e-6), Le(1e6)]
    betas: Annotated[tuple[Decay, Decay | DecayPair], Strict(False)]
    clip_value: Annotated[Number, Ge(1e-9), Le(1e6)] | None
    schedule_images: ImageCount | None
    batch: Annotated[WholeNumber, Ge(2), Le(65_536)]
    images: ImageCount
    start_from: Annotated[str, MinLen(1)] | None
    fresh_batch: bool
    order: Literal["shuffled", "in_order"]
    flip: bool
    augment: str
    augment_strength: Literal["adaptive"] | Share | SharePair
    ema_halflife_images: Halflife | HalflifePair
    progress_images: ImageCount
    score_every_images: ImageCount | None
    seed: Seed
    device: Literal["auto", "cpu", "cuda", "mps"]
    precision: Literal["auto", "fp32", "bf16"]
    processes: Annotated[WholeNumber, Ge(1), Le(1024)]
    microbatch: Literal["auto"] | Annotated[WholeNumber, Ge(1), Le(65_536)]
    cuda_graph: Literal["auto", "off"]
    on_collapse: Literal["stop", "warn"]

    def problems(self) -> Iterator[str]:
        """Yields conflicts between fields."""
        yield from find_path_problems("start_from", self.start_from)
        settings = {name: getattr(self, name) for name in ("gamma", "lr", "augment_strength", "ema_halflife_images")}
        for name, setting in {**settings, "betas": self.betas[1]}.items():
            if isinstance(setting, tuple) and self.schedule_images is None:
                yield f"{name}: expected one number, or a pair together with schedule_images; found only a pair"
        if self.batch % self.processes:
            yield f"batch: expected a multiple of processes ({self.processes}); found {self.batch}"
        if self.penalty == "wgan_gp" and self.penalty_stride > 1:
            yield f"penalty_stride: expected 1 with wgan_gp, which needs all images; found {self.penalty_stride}"
        if self.penalty == "none" and self.gamma not in ("auto", 0.0):
            yield f"gamma: expected 0 without a penalty; found {self.gamma}"
        unknown = [] if self.augment in ("none", "full") else [name for name in self.augment.split(",") if name not in AUGMENTATIONS]
        if unknown:
            choices = f"none, full or some of {', '.join(AUGMENTATIONS)}, separated by commas"
            yield f"augment: expected {choices}; found {unknown[0][:40]!r}{suggest(unknown[0], AUGMENTATIONS)}"
