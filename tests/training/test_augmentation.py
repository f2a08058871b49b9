"""Augmentation: the identity at strength 0, exact for whole pixels, differentiable twice."""

import math

import pytest
import torch

from facegan.training.augmentation import ADA_LIMIT, Augmentation, adapt, make_matrices, multiply, warp
from facegan.training.parameters import AUGMENTATIONS
from facegan.training.trainer import take_rows

DIFFAUGMENT = "color,translation,cutout"
POLICIES = ["full", DIFFAUGMENT, *AUGMENTATIONS]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def augment(policy: str, images: torch.Tensor, value: float, seed: int = 0) -> torch.Tensor:
    augmentation = Augmentation(policy)
    numbers = augmentation.draw(len(images), images.shape[3], torch.Generator().manual_seed(seed))
    return augmentation(images, torch.tensor(value), numbers)


@pytest.mark.parametrize(("policy", "value"), [*((policy, 0.0) for policy in POLICIES), ("none", 1.0)])
def test_strength_0_and_no_policy_are_the_identity(policy, value):
    images = torch.randn(8, 3, 16, 16)
    assert torch.equal(augment(policy, images, value), images)


@pytest.mark.parametrize("policy", POLICIES)
def test_strength_1_changes_images_but_not_their_shape(policy):
    images = torch.rand(64, 3, 16, 16) * 2 - 1
    result = augment(policy, images, 1.0)
    assert result.shape == images.shape and result.dtype == images.dtype
    changed = (result != images).flatten(1).any(1).float().mean()
    assert changed > (0.3 if policy == "flip" else 0.9)  # a flip falls to every other image


def test_strength_is_the_probability_of_each_transformation():
    images = torch.rand(4000, 3, 8, 8)
    changed = (augment("cutout", images, 0.3) != images).flatten(1).any(1).float().mean().item()
    assert changed == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 4000))


@pytest.mark.parametrize("policy", POLICIES)
def test_gradients_agree_with_differences(policy):
    """First and second derivatives, in float64, through every transformation together and alone."""
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def sample(images: torch.Tensor) -> torch.Tensor:
        return augment(policy, images, 1.0, seed=3)[:, :, ::3, ::3]

    assert torch.autograd.gradcheck(sample, images, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda images: sample(images).tanh().sum((1, 2, 3)), images, fast_mode=True)


def test_rows_of_the_numbers_augment_rows_of_the_images():
    images, augmentation = torch.randn(16, 3, 16, 16), Augmentation("full")
    numbers = augmentation.draw(16, 16, torch.Generator().manual_seed(1))
    complete, part = (augmentation(images[rows], torch.tensor(0.5), take_rows(numbers, rows)) for rows in (slice(0, 16), slice(4, 9)))
    assert torch.equal(part, complete[4:9])
    assert not torch.equal(complete, images)


def shift(x: float, y: float) -> torch.Tensor:
    """Returns matrices (2, 3, 3) that move two pictures' content by (-x, -y)."""
    one = torch.ones(2)
    return make_matrices((1, 0, x * one), (0, 1, y * one))


QUARTER_TURN = make_matrices((0, -torch.ones(2), 0), (1, 0, 0))


def test_shift_by_whole_pixels_is_exact():
    images = torch.randn(2, 3, 8, 8)
    moved = warp(images, shift(2, -1))
    assert torch.equal(moved[:, :, 1:, :-2], images[:, :, :-1, 2:])
    assert not moved[:, :, 0].any() and not moved[:, :, :, -2:].any()


def test_half_a_pixel_is_the_mean_of_two():
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(warp(images, shift(0.5, 0))[..., :-1], (images[..., 1:] + images[..., :-1]) / 2)


def test_a_quarter_turn_turns():
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(warp(images, QUARTER_TURN), images.rot90(1, (2, 3)))


def test_product_of_matrices_is_one_warp():
    images = torch.zeros(2, 3, 12, 12)
    images[:, :, 4:8, 4:8] = torch.randn(2, 3, 4, 4)  # far from the edge, where the first motion loses what the second brings back
    turned = warp(warp(images, shift(2, -1)), QUARTER_TURN)
    assert torch.equal(warp(images, multiply(shift(2, -1), QUARTER_TURN)), turned)
    assert not torch.equal(warp(images, multiply(QUARTER_TURN, shift(2, -1))), turned)
    assert torch.equal(warp(images, multiply(shift(0.5, 0.25), shift(-0.5, -0.25))), images)  # interpolated once: not blurred


def test_a_flip_mirrors_exactly():
    images = torch.randn(64, 3, 16, 16)
    flipped = (augment("flip", images, 1.0) == images.flip(3)).flatten(1).all(1)
    assert 16 < flipped.sum() < 48


def test_colors_stay_in_the_ranges_of_diffaugment():
    """An even picture: contrast and saturation have nothing to change, brightness moves it by half at most."""
    images = torch.zeros(2000, 3, 2, 2)
    moved = augment("color", images, 1.0)
    assert moved.abs().max() <= 0.5 + 1e-6
    assert moved.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.05)
    vivid = torch.tensor([0.5, 0.0, -0.5])[:, None, None].expand(2000, 3, 2, 2)
    result = augment("color", vivid, 1.0)
    spread = result.amax((1, 2, 3)) - result.amin((1, 2, 3))  # 1 · saturation of 0 … 2 · contrast of 0.5 … 1.5
    assert spread.max() <= 3
    assert spread.mean().item() == pytest.approx(1, rel=0.1)


def test_cutout_greys_at_most_a_quarter():
    holes = (augment("cutout", torch.ones(500, 3, 16, 16), 1.0) == 0)[:, 0]
    areas = holes.flatten(1).float().mean(1)
    assert areas.max() == 0.25
    assert areas.min() >= 1 / 16 - 1e-6  # a corner's quarter of it, when the centre is in the corner


def test_adaptive_strength_converges_to_the_target():
    """A discriminator that overfits: sign of 1 without augmentation, less by as much as augmentation is strong."""
    value = torch.tensor(0.0)
    for _ in range(4000):
        value = adapt(value, 1 - value, 4 * 64)
    assert value.item() == pytest.approx(0.4, abs=2 * 4 * 64 / 500_000)


@pytest.mark.parametrize(("before", "sign", "images", "after"), [(0, -1, 256, 0), (ADA_LIMIT, 1, 256, ADA_LIMIT), (0.1, 1, 5000, 0.11)])
def test_adaptive_strength_moves_at_its_rate_within_bounds(before, sign, images, after):
    assert adapt(torch.tensor(float(before)), torch.tensor(float(sign)), images).item() == pytest.approx(after)
