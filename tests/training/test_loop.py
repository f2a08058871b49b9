"""Training learns, reports what it did, and writes the documented files."""

import csv
import json

import pytest
import torch
from projects import copy_project, draw_pictures, make_shards, run_stage

from facegan.common.shards import read_index
from facegan.models.generator_file import load_generator
from facegan.models.latents import seeded_latents
from facegan.models.layers import recalibrate_batch_norm
from facegan.models.parameters import DCGANParameters
from facegan.models.registry import build_generator
from facegan.training.optimizers import move_together, update_ema
from facegan.training.schedules import decay_factor


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run long enough to learn a bright ellipse on a dark background."""
    fast = {"images": 6_000, "batch": 16, "lr": 1e-3, "ema_halflife_images": 500}
    project = copy_project(tmp_path_factory.mktemp("trained"), **fast, progress_images=2_000)
    make_shards(project, count=600)
    result = run_stage(project, "train", "--checkpoint-seconds", "1000")
    assert result.returncode == 0, result.stderr
    return project, result


def test_training_learns_the_data(trained):
    generator, _ = load_generator(trained[0] / "data" / "model" / "generator.safetensors")
    torch.manual_seed(0)
    untrained = build_generator(DCGANParameters(width=8, latent_size=100, discriminator_norm="spectral"), 32).eval()
    real = torch.from_numpy(draw_pictures(500, 32, seed=9)).float() / 127.5 - 1
    latents = seeded_latents(generator, 500, seed=1)
    with torch.no_grad():
        before, after = ((network(latents).mean(0) - real.mean(0)).square().mean() for network in (untrained, generator))
        diversity = generator(latents).std(0).mean() / real.std(0).mean()
    assert after < before / 10
    assert 0.3 < diversity < 2


def test_the_run_is_recorded(trained):
    project, result = trained
    with (project / "metrics/losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["images_seen"] for row in (*rows[:2], rows[-1])] == ["16", "32", "6000"]  # after every step at first
    assert all(0 <= float(row["loss_discriminator"]) < 100 for row in rows)
    numbers, report = (json.loads((project / name).read_text()) for name in ("metrics/train.json", "data/model/training.json"))
    assert numbers["images_seen"] == 6_000 and numbers["images_per_second"] > 0
    assert len(numbers) <= 8 and all(isinstance(value, int | float) for value in numbers.values())
    assert report["rewinds"] == report["warnings"] == [] and report["quick_score"] is None
    assert report["device"] == "cpu" and report["parameters"]["model"]["name"] == "dcgan"
    names = [path.name for path in sorted((project / "data/model/progress").iterdir())]
    assert names == [f"{images:010d}.png" for images in (0, 2_000, 4_000, 6_000)]
    assert "generator.safetensors" in result.stdout and "losses.csv" in result.stdout and result.stderr == ""


def test_generator_has_a_card(trained):
    _, card = load_generator(trained[0] / "data/model/generator.safetensors")
    assert (card.model, card.resolution, card.latent_size, card.images_seen) == ("dcgan", 32, 100, 6_000)
    assert card.data_fingerprint == read_index(trained[0] / "data/shards").fingerprint


@pytest.mark.parametrize(
    ("change", "message"), [({"lr": -1.0}, "train.lr: expected greater than"), ({"processes": 3}, "train.batch: expected a multiple of")]
)
def test_impossible_parameters_are_rejected_first(tmp_path, change, message):
    project = copy_project(tmp_path, **change)
    result = run_stage(project, "train")
    assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    assert not (project / ".checkpoints").exists()
    assert "Traceback" in run_stage(project, "train", "--debug").stderr


def test_missing_shards_are_reported(tmp_path):
    result = run_stage(copy_project(tmp_path), "train")
    assert result.returncode == 1 and "run the stage preprocess" in result.stderr


def test_ema_halves_old_weights_in_its_halflife():
    assert decay_factor(64, 64) == 0.5
    assert decay_factor(10, 20) ** 2 == pytest.approx(0.5)
    assert decay_factor(64, 0) == 0
    old, new = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = old.weight.clone()
    update_ema(old.requires_grad_(False), new, torch.tensor(0.75))
    torch.testing.assert_close(old.weight, 0.75 * before + 0.25 * new.weight)


def test_ema_for_gpus_equals_lerp():
    weights = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed, shape in enumerate([(4, 3), (5,), (2, 3, 4, 4)])]
    averages = [torch.zeros_like(weight) + 0.5 for weight in weights]
    expected = [torch.lerp(average, weight, 0.1) for average, weight in zip(averages, weights, strict=True)]
    move_together(averages, weights, torch.tensor(0.1))
    for average, value in zip(averages, expected, strict=True):
        torch.testing.assert_close(average, value)


def test_recalibrated_batch_norm_has_the_statistics_of_the_activations():
    torch.manual_seed(0)
    norm = torch.nn.BatchNorm2d(3).requires_grad_(False).eval()
    inputs = torch.randn(128, 3, 5, 5) * 4 + 2
    recalibrate_batch_norm(norm, inputs)
    torch.testing.assert_close(norm.running_mean, inputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_var, inputs.var((0, 2, 3)), rtol=1e-2, atol=1e-2)
    assert not norm.training
