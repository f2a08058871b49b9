"""A batch in pieces does what the whole batch does; what cannot be cut is not."""

import pytest
import torch

from facegan.common.errors import FaceganError
from facegan.training.hardware import choose_hardware
from facegan.training.microbatch import choose_size, find_unit, split
from facegan.training.processes import World
from presets import KINDS, PRESETS, make_small_trainer, measure_difference, run_steps

HARDWARE = choose_hardware("cpu", "fp32")
BATCH, PIECE, STEPS = 8, 4, 3
TUTORIALS = ("tutorial28", "keras128")
NORMALIZED = ("dcgan", "tutorial28")  # their generators have batch norm
CUTTABLE = {name: PRESETS[name]["model"]["name"] for name in KINDS.values() if PRESETS[name]["model"]["name"] not in NORMALIZED}
BY_MODEL = list({model: name for name, model in CUTTABLE.items()}.items())  # a preset of each model
GRADIENT_PENALTY = {"objective": "noisy_labels", "penalty": "wgan_gp", "gamma": 1.0, "penalty_stride": 1, "fresh_batch": False}
SOME_IMAGES = {"objective": "noisy_labels", "penalty": "r1", "gamma": 1.0, "penalty_stride": 2, "augment": "full"}
CASES = {
    **{name: (name, False, {}) for name in CUTTABLE},
    **{f"{name}, labels": (name, True, {}) for model, name in BY_MODEL if model not in TUTORIALS},
    **{f"{name}, wgan-gp": (name, False, GRADIENT_PENALTY) for _, name in BY_MODEL},
    # not StyleGAN2's, whose discriminator compares images
    **{f"{name}, a penalty on some": (name, False, SOME_IMAGES) for model, name in BY_MODEL if model != "stylegan2"},
}


@pytest.mark.parametrize(("preset", "labelled", "train"), CASES.values(), ids=CASES)
def test_pieces_move_both_networks_as_the_whole_batch_does(preset, labelled, train):
    """With penalties, pairs, augmentation, dropout, noise and groups of neighbours: all random numbers are the whole batch's."""
    whole, pieces = (make_small_trainer(preset, HARDWARE, BATCH, labelled=labelled, microbatch=size, **train) for size in ("auto", PIECE))
    assert (len(whole.pieces), len(pieces.pieces)) == (1, 2)
    expected, found = run_steps(whole, STEPS), run_steps(pieces, STEPS)
    assert measure_difference(expected, found) < 2e-3
    torch.testing.assert_close(found["sums"], expected["sums"], rtol=1e-4, atol=1e-4)


def test_a_network_that_draws_its_own_random_numbers_is_rejected(monkeypatch):
    trainer = make_small_trainer("demo", HARDWARE, BATCH)
    forward = trainer.generator.forward
    monkeypatch.setattr(trainer.generator, "forward", lambda latents, noise: forward(latents + torch.randn(1)))
    with pytest.raises(FaceganError, match="draw_noise"):
        trainer.train_step()


@pytest.mark.parametrize(("preset", "unit"), [("celeba64_dcgan", 8), ("celeba64_stylegan2", 4), ("celeba64_r3gan", 1), ("demo", 4)])
def test_what_has_to_stay_together_does(preset, unit):
    trainer = make_small_trainer(preset, HARDWARE, BATCH)
    assert find_unit(trainer.generator, trainer.discriminator, trainer.game.penalty_stride, BATCH) == unit
    if unit > 1:
        with pytest.raises(FaceganError, match=rf"train\.microbatch: expected auto or at least {unit} "):
            trainer.set_microbatch(unit - 1)


def test_a_penalty_on_some_images_asks_for_a_discriminator_that_judges_each_by_itself():
    with pytest.raises(FaceganError, match=r"train\.penalty_stride: expected 1"):
        make_small_trainer("celeba64_stylegan2", HARDWARE, BATCH, penalty_stride=2)
    with pytest.raises(FaceganError, match=r"train\.penalty_stride: expected a divisor of each process's 2 images"):
        make_small_trainer("celeba64_r3gan", HARDWARE, BATCH, World(0, 4), penalty_stride=4)


@pytest.mark.parametrize(
    ("share", "microbatch", "unit", "sizes"),
    [(256, 300, 4, [256]), (256, 100, 4, [88, 88, 80]), (64, 63, 1, [32, 32]), (6, 5, 2, [4, 2]), (12, 4, 4, [4, 4, 4])],
)
def test_pieces_are_few_and_equal_and_cover_the_share(share, microbatch, unit, sizes):
    pieces = split(share, microbatch, unit)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert [piece.start for piece in pieces] == [sum(sizes[:index]) for index in range(len(sizes))]


@pytest.mark.parametrize(
    ("share", "unit", "room", "expected"),
    [(256, 1, 10_000, 256), (256, 1, 1_400, 86), (256, 4, 1_400, 88), (256, 1, 340, 20), (256, 1, 150, 3), (64, 64, 1e9, 64)],
)
def test_as_many_images_as_fit_are_chosen(share, unit, room, expected):
    """For 100 bytes of weights and 10 per image: as few microbatches as fit, with a tenth to spare."""

    def measure(size):
        if 100 + 10 * size > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 100 + 10 * size

    assert choose_size(share, unit, room, measure) == expected
    assert 100 + 10 * expected <= room
