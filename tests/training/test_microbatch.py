"""A batch in pieces does what the whole batch does; what cannot be cut is not."""

import pytest
import torch
from projects import copy_project, make_shards, run_stage

from facegan.common.errors import FaceganError
from facegan.training.hardware import choose_hardware
from facegan.training.microbatch import choose_size, find_unit, fit, split
from facegan.training.processes import World
from presets import KINDS, PRESETS, make_small_trainer, measure_difference, run_steps

HARDWARE = choose_hardware("cpu", "fp32")
BATCH, PIECE, STEPS = 8, 4, 3
TUTORIALS = ("tutorial28", "keras128")
NORMALIZED = ("dcgan", "tutorial28")  # their generators have batch norm
CUTTABLE = [name for name in KINDS.values() if PRESETS[name]["model"]["name"] not in NORMALIZED]
OTHERS = [
    {},
    {"objective": "noisy_labels", "penalty": "wgan_gp", "gamma": 1.0, "penalty_stride": 1, "fresh_batch": False},
    {"objective": "noisy_labels", "penalty": "r1", "gamma": 1.0, "penalty_stride": 2, "augment": "full"},
]


@pytest.mark.parametrize("train", OTHERS, ids=["as it is", "wgan-gp", "a penalty on some"])
@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("preset", CUTTABLE)
def test_pieces_move_both_networks_as_the_whole_batch_does(preset, labelled, train):
    """With penalties, pairs, augmentation, dropout, noise and groups of neighbours: all random numbers are the whole batch's."""
    if train.get("penalty_stride", 1) > 1 and PRESETS[preset]["model"]["name"] == "stylegan2":
        pytest.skip("its discriminator compares images, so none can be judged apart")
    if labelled and PRESETS[preset]["model"]["name"] in TUTORIALS:
        pytest.skip("the tutorials' models have no labels")
    whole, pieces = (make_small_trainer(preset, HARDWARE, BATCH, labelled=labelled, microbatch=size, **train) for size in ("auto", PIECE))
    assert (len(whole.pieces), len(pieces.pieces)) == (1, 2)
    expected, found = run_steps(whole, STEPS), run_steps(pieces, STEPS)
    assert measure_difference(expected, found) < 2e-3
    torch.testing.assert_close(found["sums"], expected["sums"], rtol=1e-4, atol=1e-4)


def test_such_a_check_notices_other_random_numbers():
    """The measure above is near 1 where the outcome is another one: here, of another seed."""
    one, other = (make_small_trainer("celeba64_stylegan2", HARDWARE, BATCH, seed=seed) for seed in range(2))
    assert measure_difference(run_steps(one, STEPS), run_steps(other, STEPS)) > 0.2


def test_a_network_that_draws_its_own_random_numbers_is_rejected(monkeypatch):
    trainer = make_small_trainer("demo", HARDWARE, BATCH)
    forward = trainer.generator.forward
    monkeypatch.setattr(trainer.generator, "forward", lambda latents, noise: forward(latents + torch.randn(1)))
    with pytest.raises(FaceganError, match="draw_noise"):
        trainer.train_step()


@pytest.mark.parametrize(
    ("preset", "unit"),
    [("celeba64_dcgan", 8), ("celeba64_stylegan2", 4), ("celeba64_r3gan", 1), ("demo", 4)],
)
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
    [
        (256, 256, 1, [256]),
        (256, 300, 4, [256]),
        (256, 100, 4, [88, 88, 80]),
        (64, 63, 1, [32, 32]),
        (6, 5, 2, [4, 2]),
        (12, 4, 4, [4, 4, 4]),
    ],
)
def test_pieces_are_few_and_equal_and_cover_the_share(share, microbatch, unit, sizes):
    pieces = split(share, microbatch, unit)
    assert [piece.stop - piece.start for piece in pieces] == sizes
    assert [piece.start for piece in pieces] == [sum(sizes[:index]) for index in range(len(sizes))]


def needs(fixed, an_image, limit=float("inf")):
    """Returns a machine's memory, as a function of the images at once, and the sizes that were tried."""
    tried = []

    def measure(size):
        tried.append(size)
        if fixed + an_image * size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fixed + an_image * size

    return measure, tried


@pytest.mark.parametrize(
    ("share", "unit", "room", "expected"),
    [(256, 1, 10_000, 256), (256, 1, 1_400, 86), (256, 4, 1_400, 88), (256, 1, 340, 20), (256, 1, 150, 3), (64, 64, 1e9, 64)],
)
def test_as_many_images_as_fit_are_chosen(share, unit, room, expected):
    """100 bytes, say, of weights and 10 an image: pieces as few as fit, with a tenth to spare."""
    measure, _ = needs(100, 10, limit=room)
    size = choose_size(share, unit, room, measure)
    assert size == expected
    assert 100 + 10 * size <= room


def test_what_does_not_fit_at_all_is_told():
    measure, tried = needs(100, 10, limit=105)
    with pytest.raises(torch.OutOfMemoryError):
        choose_size(256, 1, 105, measure)
    assert tried == [8, 1]


def test_fit_measures_steps_and_restores_the_trainer(monkeypatch):
    """On a substitute for CUDA's memory: 10 bytes for each image of a microbatch, of which 70 fit."""
    trainer = make_small_trainer("celeba64_r3gan", HARDWARE, BATCH)
    tried = []

    def measure_peak(device):
        tried.append(trainer.microbatch)
        if 10 * trainer.microbatch > 70:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 10 * trainer.microbatch

    for name, function in {
        "reset_peak_memory_stats": lambda device: None,
        "max_memory_allocated": measure_peak,
        "empty_cache": lambda: None,
        "mem_get_info": lambda device: (50, 100),
        "memory_reserved": lambda device: 20,
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    before = {name: value.clone() for name, value in trainer.tensors().items()}
    size = trainer.microbatch
    assert fit(trainer) == 4
    assert tried == [4, 8] and trainer.microbatch == size
    assert all(torch.equal(value, before[name]) for name, value in trainer.tensors().items())
    assert all(parameter.grad is None for parameter in trainer.generator.parameters())


def test_a_microbatch_from_the_parameters_trains(tmp_path):
    project = copy_project(
        tmp_path, model={"name": "r3gan", "width": 8, "latent_size": 16}, images=64, microbatch=5, objective="relativistic"
    )
    make_shards(project)
    result = run_stage(project, "train")
    assert result.returncode == 0, result.stderr
    assert (project / "data/model/generator.safetensors").is_file()


def test_a_microbatch_that_batch_norm_forbids_is_told(tmp_path):
    project = copy_project(tmp_path, microbatch=4)
    make_shards(project)
    result = run_stage(project, "train")
    assert result.returncode == 1
    assert "train.microbatch: expected auto or at least 16" in result.stderr
    assert "Traceback" not in result.stderr
