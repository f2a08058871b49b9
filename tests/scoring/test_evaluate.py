"""Protocols, intervals, the memorisation test, and the three stages of scoring as a user runs them."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from projects import change_params, copy_project, draw_pictures, make_shards, run_stage

from facegan.common.config import read_yaml
from facegan.common.errors import FaceganError
from facegan.common.pictures import from_bytes
from facegan.common.shards import ShardWriter
from facegan.models.generator_file import Card, save_generator
from facegan.models.parameters import DCGANParameters
from facegan.models.registry import build_generator
from facegan.scoring.evaluate import describe_data, evaluate
from facegan.scoring.extractors import name_frechet, name_kernel, open_extractor
from facegan.scoring.memorisation import draw_sheet, measure_memorisation
from facegan.scoring.parameters import EvaluateParameters
from facegan.scoring.protocol import Protocol
from facegan.scoring.quick_score import QuickScore
from facegan.scoring.reference import check_shards, make_reference
from facegan.scoring.scores import compare, estimate_intervals

PROTOCOL = Protocol(
    data="a",
    resolution=32,
    crop="none",
    filter="lanczos",
    split="train",
    real=100,
    extractor="inception",
    weights_sha256="b",
    resize="c",
    generated=100,
    seed=0,
    truncation=1.0,
)
ARGUMENTS = DCGANParameters(width=8, latent_size=16, discriminator_norm="spectral")
CARD = Card(
    model="dcgan",
    arguments=ARGUMENTS.model_dump(exclude={"name"}),
    resolution=32,
    latent_size=16,
    images_seen=77,
    data_fingerprint="elsewhere",
    parameters_fingerprint="",
)


def draw(count, dimensions, seed, scale=1.0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)) * scale


def make_generator(seed=0):
    torch.manual_seed(seed)
    return build_generator(ARGUMENTS, 32).eval()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Protocol)])
def test_fingerprints_differ_when_anything_differs(field):
    value = getattr(PROTOCOL, field)
    other = dataclasses.replace(
        PROTOCOL, **{field: f"{value}!" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1}
    )
    assert other.fingerprint != PROTOCOL.fingerprint
    assert dataclasses.replace(other, **{field: value}).fingerprint == PROTOCOL.fingerprint


def test_fid_and_kid_are_reserved_for_the_published_inception():
    assert (name_frechet("inception"), name_kernel("inception")) == ("fid", "kid")
    spaces = ["inception", "inception_clean", "inception_pytorch", "inception_0123abcd", "efficientnet_lite0", "dinov2_vits14"]
    assert len({name_frechet(space) for space in spaces}) == len({name_kernel(space) for space in spaces}) == len(spaces)
    assert name_frechet("efficientnet_lite0") == "fd_efficientnet_lite0"


def test_every_score_of_a_perfect_copy():
    features = draw(60, 8, seed=0)
    report = compare(features, features, "x")
    assert report["fd_x"] < 1e-10
    assert report["precision_x"] == report["recall_x"] == report["coverage_x"] == 1


def test_another_seed_falls_within_the_stated_interval():
    """Twenty seeds, five scores: the interval is meant to hold 95 of 100 of them."""
    real = draw(300, 6, seed=1000)
    first = draw(300, 6, seed=0, scale=1.2)
    scores, widths = compare(real, first, "x"), estimate_intervals(real, first, "x")
    others = [compare(real, draw(300, 6, seed=seed, scale=1.2), "x") for seed in range(1, 21)]
    for name in ("fd_x", "kd_x", "precision_x", "recall_x", "coverage_x"):
        inside = sum(abs(other[name] - scores[name]) <= widths[name] for other in others)
        spread = np.std([other[name] for other in others])
        assert inside >= 15, name
        assert widths[name] < 8 * spread, name  # and it is not merely wide: 95% of differences lie within 2.8 deviations


class Replay(torch.nn.Module):
    """A generator that returns pictures it was given, each with a little noise: the latents only choose which."""

    latent_size, latent_distribution = 40, "normal"

    def __init__(self, pictures):
        super().__init__()
        self.pictures = torch.nn.Parameter(from_bytes(torch.from_numpy(pictures)), requires_grad=False)

    def forward(self, latents):
        noise = torch.randn(len(latents), 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 / 127.5
        return self.pictures[latents.argmax(1)] + noise


def test_a_generator_that_replays_training_images_is_caught_and_one_of_fresh_images_acquitted(tmp_path):
    """The noise moves features further than another picture's lie, and hides nothing."""
    train, holdout, fresh = np.split(draw_pictures(120, 32, seed=5), 3)
    with ShardWriter(tmp_path / "shards", 32) as writer:
        for split, pictures in (("train", train), ("holdout", holdout)):
            for picture in pictures:
                writer.add(split, picture)
        writer.finish(crop="none", filter="lanczos", source_fingerprint="drawn")
    extractor = open_extractor("efficientnet_lite0", device="cpu")
    reference = make_reference(tmp_path / "shards", tmp_path / "reference", extractor, images=40, memorisation_images=None)
    parameters = EvaluateParameters(extractor="efficientnet_lite0", weights=None, images=60, memorisation_images=None, seed=0)
    reports = [evaluate(Replay(pictures), CARD, reference, tmp_path / "shards", extractor, parameters)[0] for pictures in (train, fresh)]
    caught, acquitted = (report["memorisation"] for report in reports)
    assert caught["detected"] and caught["nearest_is_training"]["low"] > 0.6
    assert not acquitted["detected"] and acquitted["nearest_is_training"]["low"] < 0.5 < acquitted["nearest_is_training"]["high"]


def test_fresh_images_are_rarely_caught():
    """Forty generators that memorise nothing; each is wrongly caught with a chance of one in a hundred."""
    caught = [measure_memorisation(*(draw(60, 5, seed=100 * seed + part) for part in range(3)), seed=0).detected for seed in range(40)]
    assert sum(caught) <= 3


def test_poor_images_are_no_memory():
    """All generated images alike: their one nearest neighbour is a training image, which says nothing."""
    train, holdout = draw(50, 5, seed=0), draw(50, 5, seed=1)
    memory = measure_memorisation(train[:1] + 1e-3 * draw(50, 5, seed=2), holdout, train, seed=0)
    assert memory.nearest_is_training.share == 1 and not memory.detected


def test_a_half_replayed_set_lies_between():
    train, holdout, fresh = draw(200, 5, seed=0), draw(200, 5, seed=1), draw(200, 5, seed=2)
    mixed = torch.cat([train[:100] + 1e-3, fresh[:100]])
    memory = measure_memorisation(mixed, holdout, train, seed=0)
    assert memory.detected and memory.expected == 0.5
    for share in (memory.nearest_is_training, memory.closer_than_holdout):
        assert share.share == pytest.approx(0.75, abs=0.07)
        assert share.low < share.share < share.high
    assert measure_memorisation(mixed, holdout, train, seed=0) == memory


def test_ties_of_distances_count_half():
    points = draw(50, 3, seed=0)
    assert measure_memorisation(points, points, points, seed=0).closer_than_holdout.share == 0.5


def test_the_sheet_shows_each_image_in_its_place():
    colours = torch.arange(5).to(torch.uint8) * 40
    pictures = colours[:, None, None, None].expand(5, 3, 32, 32)
    sheet = draw_sheet(pictures[:1], pictures[None, 1:3], pictures[None, 3:5])
    assert sheet.shape == (16 + 64, 7 * 64, 3)
    assert [sheet[48, 32 + 64 * column, 0] for column in range(7)] == [0, 255, 40, 80, 255, 120, 160]


def test_the_quick_score_is_pure():
    real = torch.from_numpy(draw_pictures(20, 32))
    quick = QuickScore(real, seed=0, device="cpu")
    generator = make_generator().train()
    before, state = {name: value.clone() for name, value in generator.state_dict().items()}, torch.get_rng_state()
    assert quick(generator) == quick(generator) > 1
    assert generator.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert quick.name == "fd_efficientnet_lite0_quick20"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_scorable_project(tmp_path_factory.mktemp("evaluate"))


def make_scorable_project(folder, hold_out=True):
    """Returns a copy of the project with shards, a generator, and the real images looked at."""
    project = copy_project(folder, ARGUMENTS.as_plain())
    change_params(project, "evaluate", images=40, memorisation_images=60)
    make_shards(project, count=250, hold_out=hold_out)
    save_generator(project / "data/model/generator.safetensors", make_generator(1), CARD)
    looked = run_stage(project, "reference")
    assert looked.returncode == 0, looked.stderr
    return project


def run_evaluate(project, **overrides):
    """Runs the stage with other values in the section evaluate, and returns what it wrote: the metrics and the report."""
    params = read_yaml(project / "params.yaml")
    params["evaluate"] |= overrides
    (project / "other.yaml").write_text(yaml.safe_dump(params))
    done = run_stage(project, "evaluate", "--params", "other.yaml")
    if done.returncode:
        return done, None, None
    return done, *(json.loads((project / path).read_text()) for path in ("metrics/evaluate.json", "data/evaluation/report.json"))


def test_the_stages_write_scores_protocol_floor_untrained_and_memorisation(project):
    done, metrics, report = run_evaluate(project)
    assert done.returncode == 0, done.stderr
    name = "fd_efficientnet_lite0"
    assert report["floor"][name] < report["generated"][name] and report["floor"]["images"] == 40
    assert report["untrained"][name] > report["floor"][name]
    assert report["protocol"]["generated"] == report["protocol"]["real"] == 40
    assert report["memorisation"]["searched"] == 60 and report["images_seen"] == 77
    assert set(report["another_seed_95"]) <= set(report["generated"])
    assert report["memorisation"]["holdout"] == 25 and 0 <= report["memorisation"]["chance"] <= 1
    assert Image.open(project / "data/evaluation/neighbours.png").width == 11 * 64
    assert report["share_with_face"]["generated_images"] == report["share_with_face"]["real_images"] == 40
    assert "share_with_face" not in metrics and "a face is found in 0% of 40 generated pictures, in 0% of 40 real ones" in done.stdout
    assert "fid" not in metrics and report["model"].startswith("dcgan(width=8, ")
    assert "note: it was trained on other images (elsewhere) than those that it is scored against (" in done.stdout

    assert next(iter(metrics)) == name  # what runs are compared by comes first, also in DVC's alphabetical tables
    assert sum(isinstance(value, int | float) for value in metrics.values()) <= 12 and not any(
        isinstance(value, dict) for value in metrics.values()
    )
    assert metrics[name] == report["generated"][name] and metrics["protocol"] == report["protocol"]["fingerprint"]
    assert (metrics[f"{name}_floor"], metrics[f"{name}_untrained"]) == (report["floor"][name], report["untrained"][name])

    again = (project / "metrics/evaluate.json").read_bytes()
    run_evaluate(project)
    assert (project / "metrics/evaluate.json").read_bytes() == again  # the same seed, to the last digit

    _, other, _ = run_evaluate(project, seed=1)
    assert other["protocol"] != metrics["protocol"]
    assert other[name] != metrics[name]


def test_where_none_are_held_out_all_but_the_memorisation_test_is_there(tmp_path):
    done, metrics, report = run_evaluate(make_scorable_project(tmp_path, hold_out=False))
    assert done.returncode == 0, done.stderr
    assert "too few held-out images to tell whether it replays" in done.stdout
    assert report["floor"]["images"] == 40 and metrics["fd_efficientnet_lite0"] > 0 and "memorisation" not in report
    assert Image.open(tmp_path / "project/data/evaluation/neighbours.png").height > 0


def test_a_call_that_fails_leaves_no_earlier_score(tmp_path):
    project = copy_project(tmp_path)
    earlier = [project / path for path in ("metrics/evaluate.json", "data/evaluation/report.json", "data/evaluation/neighbours.png")]
    for path in earlier:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    done = run_stage(project, "evaluate", "--model", "torn.safetensors")
    assert done.returncode == 1 and "expected a generator at torn.safetensors" in done.stderr
    assert not any(path.exists() for path in earlier)


def test_only_scores_against_the_training_images_need_no_note():
    assert describe_data({"data_fingerprint": "a", "protocol": {"data": "a"}}) == ""
    assert "trained on other images (a) than" in describe_data({"data_fingerprint": "a", "protocol": {"data": "b"}})


def test_a_generator_of_another_size_and_real_features_of_other_images_are_refused(tmp_path):
    with ShardWriter(tmp_path / "shards", 32) as writer:
        for picture in draw_pictures(40, 32):
            writer.add("train", picture)
        index = writer.finish(crop="none", filter="lanczos", source_fingerprint="drawn")
    extractor = open_extractor("efficientnet_lite0", device="cpu")
    reference = make_reference(tmp_path / "shards", tmp_path / "reference", extractor, images=20, memorisation_images=None)
    parameters = EvaluateParameters(extractor="efficientnet_lite0", weights=None, images=20, memorisation_images=None, seed=0)
    with pytest.raises(FaceganError, match="expected a generator of 32×32 pixels, as the real images are; found one of 64×64 pixels"):
        evaluate(make_generator(), CARD.model_copy(update={"resolution": 64}), reference, tmp_path / "shards", extractor, parameters)
    check_shards(reference, index, tmp_path / "shards")
    with pytest.raises(
        FaceganError, match=r"expected the images that the real features are of .* in .*; found others \(0000.*run stages/reference.py"
    ):
        check_shards(reference, index.model_copy(update={"fingerprint": "0" * 64}), tmp_path / "shards")


def test_real_features_of_another_extractor_are_refused(project, tmp_path):
    reference = project / "data/reference/reference.json"
    text = reference.read_text()
    reference.write_text(text.replace('"extractor": "efficientnet_lite0"', '"extractor": "inception"'))
    done, _, _ = run_evaluate(project)
    reference.write_text(text)
    assert done.returncode == 1
    assert "run stages/reference.py again" in done.stderr and "Traceback" not in done.stderr
