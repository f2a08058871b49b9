"""Training learns, reports what it did, and writes the documented files."""

import csv
import json

import pytest
import torch
from projects import copy_project, draw_pictures, make_shards, run_stage

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
    result = run_stage(project, "train")
    assert result.returncode == 0, result.stderr
    return project, result


def distance(pictures, others):
    """Returns the mean squared difference between two sets' mean pictures."""
    return (pictures.mean(0) - others.mean(0)).square().mean().item()


def test_training_learns_the_data(trained):
    generator, _ = load_generator(trained[0] / "data" / "model" / "generator.safetensors")
    torch.manual_seed(0)
    untrained = build_generator(DCGANParameters(width=8, latent_size=100, discriminator_norm="spectral"), 32).eval()
    real = torch.from_numpy(draw_pictures(500, 32, seed=9)).float() / 127.5 - 1
    latents = seeded_latents(generator, 500, seed=1)
    with torch.no_grad():
        before, after = distance(untrained(latents), real), distance(generator(latents), real)
        diversity = generator(latents).std(0).mean() / real.std(0).mean()
    assert after < before / 10
    assert 0.3 < diversity < 2


def test_losses_have_one_row_per_step_at_first(trained):
    with (trained[0] / "metrics" / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["images_seen"]) for row in rows][:2] == [16, 32]  # after every step at first
    assert rows[-1]["images_seen"] == "6000"
    assert all(0 <= float(row["loss_discriminator"]) < 100 for row in rows)  # of single steps at first


def test_train_json_contains_a_few_numbers(trained):
    report = json.loads((trained[0] / "metrics" / "train.json").read_text())
    assert report["images_seen"] == 6_000
    assert report["images_per_second"] > 0
    assert len(report) <= 8 and all(isinstance(value, int | float) for value in report.values())


def test_training_json_describes_the_run(trained):
    report = json.loads((trained[0] / "data" / "model" / "training.json").read_text())
    assert report["rewinds"] == report["warnings"] == [] and report["quick_score"] is None
    assert report["device"] == "cpu" and report["parameters"]["model"]["name"] == "dcgan"


def test_progress_pictures_are_named_after_images_seen(trained):
    names = [path.name for path in sorted((trained[0] / "data" / "model" / "progress").iterdir())]
    assert names == [f"{images:010d}.png" for images in (0, 2_000, 4_000, 6_000)]


def test_stage_prints_its_outputs(trained):
    assert "generator.safetensors" in trained[1].stdout and "losses.csv" in trained[1].stdout
    assert trained[1].stderr == ""


def test_generator_is_rebuilt_from_its_card(trained):
    generator, card = load_generator(trained[0] / "data" / "model" / "generator.safetensors")
    assert (card.model, card.resolution, card.latent_size, card.images_seen) == ("dcgan", 32, 100, 6_000)
    index = json.loads((trained[0] / "data" / "shards" / "index.json").read_text())
    assert card.data_fingerprint == index["fingerprint"]
    assert generator(torch.zeros(1, 100)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": -1.0}, "train.lr: expected greater than"),
        ({"batch": 16, "processes": 3}, "train.batch: expected a multiple of"),
    ],
)
def test_impossible_parameters_are_rejected_first(tmp_path, change, message):
    project = copy_project(tmp_path, **change)
    result = run_stage(project, "train")
    assert result.returncode == 1
    assert message in result.stderr and "Traceback" not in result.stderr
    assert not (project / ".checkpoints").exists()


def test_debug_prints_a_traceback(tmp_path):
    assert "Traceback" in run_stage(copy_project(tmp_path, lr=-1.0), "train", "--debug").stderr


def test_missing_shards_are_reported(tmp_path):
    result = run_stage(copy_project(tmp_path), "train")
    assert result.returncode == 1
    assert "run the stage preprocess" in result.stderr


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
