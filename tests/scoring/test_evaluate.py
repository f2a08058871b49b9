"""Protocols, intervals, the memorisation test, and the scoring stages as users run them."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from projects import change_params, copy_project, draw_pictures, make_shards, run_stage
from references import ARGUMENTS, CARD, choose, open_lite, refer, write_shards

from facegan.common.config import read_yaml
from facegan.common.errors import FaceganError
from facegan.common.pictures import from_bytes
from facegan.models.generator_file import save_generator
from facegan.models.network import GeneratorNetwork
from facegan.models.registry import build_generator
from facegan.scoring.evaluate import describe_data, evaluate
from facegan.scoring.extractors import name_frechet, name_kernel
from facegan.scoring.memorisation import draw_sheet, measure_memorisation
from facegan.scoring.protocol import Protocol
from facegan.scoring.quick_score import QuickScore
from facegan.scoring.reference import check_shards
from facegan.scoring.scores import compare, estimate_intervals

PROTOCOL = Protocol("a", 32, "none", "lanczos", "train", 100, "inception", "b", "c", generated=100, seed=0)
FD = "fd_efficientnet_lite0"


def draw(count, dimensions, seed, scale=1.0):
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed)) * scale


def make_generator(seed=0):
    torch.manual_seed(seed)
    return build_generator(ARGUMENTS, 32).eval()


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Protocol)])
def test_fingerprint_depends_on_every_field(field):
    value = getattr(PROTOCOL, field)
    other = f"{value}!" if isinstance(value, str) else not value if isinstance(value, bool) else value + 1
    changed = dataclasses.replace(PROTOCOL, **{field: other})
    assert changed.fingerprint != PROTOCOL.fingerprint
    assert dataclasses.replace(changed, **{field: value}).fingerprint == PROTOCOL.fingerprint


def test_fid_and_kid_are_reserved_for_the_published_inception():
    assert (name_frechet("inception"), name_kernel("inception")) == ("fid", "kid")
    spaces = ["inception", "inception_clean", "inception_pytorch", "inception_0123abcd", "efficientnet_lite0", "dinov2_vits14"]
    assert len({name_frechet(space) for space in spaces}) == len({name_kernel(space) for space in spaces}) == len(spaces)
    assert name_frechet("efficientnet_lite0") == FD


def test_another_seed_is_within_the_interval():
    """Twenty seeds, five scores: the interval should contain 95% of them."""
    real = draw(300, 6, seed=1000)
    first = draw(300, 6, seed=0, scale=1.2)
    scores, widths = compare(real, first, "x"), estimate_intervals(real, first, "x")
    others = [compare(real, draw(300, 6, seed=seed, scale=1.2), "x") for seed in range(1, 21)]
    for name in ("fd_x", "kd_x", "precision_x", "recall_x", "coverage_x"):
        values = np.array([other[name] for other in others])
        assert (np.abs(values - scores[name]) <= widths[name]).sum() >= 15, name
        assert widths[name] < 8 * values.std(), name  # not much wider than 2.8 deviations, which contain 95% of the differences


class Replay(GeneratorNetwork):
    """A generator that returns given images with a little noise; the latents select the image."""

    latent_size, latent_distribution = 40, "normal"

    def __init__(self, pictures):
        super().__init__()
        self.pictures = torch.nn.Parameter(from_bytes(torch.from_numpy(pictures)), requires_grad=False)

    def forward(self, latents):
        noise = torch.randn(len(latents), 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 / 127.5
        return self.pictures[latents.argmax(1)] + noise


def test_memorisation_is_detected_only_for_training_images(tmp_path):
    """The noise moves features further than the distance between images, but does not hide memorisation."""
    train, holdout, fresh = np.split(draw_pictures(120, 32, seed=5), 3)
    write_shards(tmp_path / "shards", train, holdout)
    reference = refer(tmp_path / "shards", images=40)
    reports = [evaluate(Replay(part), CARD, reference, tmp_path / "shards", open_lite(), choose(60))[0] for part in (train, fresh)]
    memorised, new = (report["memorisation"] for report in reports)
    assert memorised["in_structure"]["nearest_is_training"]["low"] > 0.6 and memorised["combined_chance"] < 0.01
    assert not new["in_structure"]["detected"] and new["combined_chance"] > 0.01
    assert memorised["detected"] and memorised["nearest_is_training"]["low"] > 0.6
    assert not new["detected"] and new["nearest_is_training"]["low"] < 0.5 < new["nearest_is_training"]["high"]


def test_false_alarms_are_rare():
    """Forty generators without memorisation, at a significance level of 0.01."""
    alarms = [measure_memorisation(*(draw(60, 5, seed=100 * seed + part) for part in range(3)), seed=0).detected for seed in range(40)]
    assert sum(alarms) <= 3


def test_collapse_is_not_memorisation():
    """If all generated images are alike, they have a single nearest neighbour, which is not significant."""
    train, holdout = draw(50, 5, seed=0), draw(50, 5, seed=1)
    result = measure_memorisation(train[:1] + 1e-3 * draw(50, 5, seed=2), holdout, train, seed=0)
    assert result.nearest_is_training.share == 1 and not result.detected


def test_shares_of_a_half_memorised_set():
    train, holdout, fresh = draw(200, 5, seed=0), draw(200, 5, seed=1), draw(200, 5, seed=2)
    mixed = torch.cat([train[:100] + 1e-3, fresh[:100]])
    result = measure_memorisation(mixed, holdout, train, seed=0)
    assert result.detected and result.expected == 0.5
    for share in (result.nearest_is_training, result.closer_than_holdout):
        assert share.share == pytest.approx(0.75, abs=0.07)
        assert share.low < share.share < share.high
    assert measure_memorisation(mixed, holdout, train, seed=0) == result


def test_equal_distances_count_half():
    points = draw(50, 3, seed=0)
    assert measure_memorisation(points, points, points, seed=0).closer_than_holdout.share == 0.5


def test_sheet_shows_each_image_in_its_place():
    colours = torch.arange(5).to(torch.uint8) * 40
    pictures = colours[:, None, None, None].expand(5, 3, 32, 32)
    sheet = draw_sheet(pictures[:1], pictures[None, 1:3], pictures[None, 3:5])
    assert sheet.shape == (16 + 64, 7 * 64, 3)
    assert [sheet[48, 32 + 64 * column, 0] for column in range(7)] == [0, 255, 40, 80, 255, 120, 160]


def test_quick_score_has_no_side_effects():
    quick = QuickScore(torch.from_numpy(draw_pictures(20, 32)), seed=0, device="cpu")
    generator = make_generator().train()
    before, state = {name: value.clone() for name, value in generator.state_dict().items()}, torch.get_rng_state()
    assert quick(generator) == quick(generator) > 1
    assert generator.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert quick.name == f"{FD}_pixels16_quick20"
    assert quick(generator) == pytest.approx(math.sqrt(math.prod(quick.measure_distances(generator).values())))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_scorable_project(tmp_path_factory.mktemp("evaluate"))


def make_scorable_project(folder, hold_out=True):
    """Returns a copy of the project with shards, a generator, and a reference."""
    project = copy_project(folder, ARGUMENTS.as_plain())
    change_params(project, "evaluate", images=40, memorisation_images=60)
    make_shards(project, count=250, hold_out=hold_out)
    save_generator(project / "data/model/generator.safetensors", make_generator(1), CARD)
    done = run_stage(project, "reference")
    assert done.returncode == 0, done.stderr
    return project


def run_evaluate(project, **overrides):
    """Runs the stage with changed parameters; returns its output, the metrics and the report."""
    params = read_yaml(project / "params.yaml")
    params["evaluate"] |= overrides
    (project / "other.yaml").write_text(yaml.safe_dump(params))
    done = run_stage(project, "evaluate", "--params", "other.yaml")
    assert done.returncode == 0, done.stderr
    return done.stdout, *(json.loads((project / path).read_text()) for path in ("metrics/evaluate.json", "data/evaluation/report.json"))


def test_stages_write_all_results(project):
    output, metrics, report = run_evaluate(project)
    assert report["floor"][FD] < report["generated"][FD] and report["floor"]["images"] == 40
    assert report["untrained"][FD] > report["floor"][FD]
    assert report["protocol"]["generated"] == report["protocol"]["real"] == 40
    assert report["memorisation"]["searched"] == 60 and report["images_seen"] == 77
    assert set(report["another_seed_95"]) <= set(report["generated"])
    assert report["memorisation"]["holdout"] == 25 and 0 <= report["memorisation"]["chance"] <= 1
    assert Image.open(project / "data/evaluation/neighbours.png").width == 11 * 64
    assert report["share_with_face"]["generated_images"] == report["share_with_face"]["real_images"] == 40
    assert "a face is detected in 0% of 40 generated images, in 0% of 40 real ones" in output
    assert "note: it was trained on other images" in output
    assert "fid" not in metrics and report["model"].startswith("dcgan(width=8, ")
    assert "labels" not in report and "labels" not in report["protocol"] and "label_accuracy" not in metrics

    assert next(iter(metrics)) == FD  # DVC shows columns in alphabetical order
    assert len(metrics) <= 12 and not any(isinstance(value, dict) for value in metrics.values())
    assert metrics["fd_pixels16"] > metrics["fd_pixels16_floor"] and metrics["memorised_p"] == report["memorisation"]["combined_chance"]
    assert metrics[FD] == report["generated"][FD] and metrics["protocol"] == report["protocol"]["fingerprint"]
    assert (metrics[f"{FD}_floor"], metrics[f"{FD}_untrained"]) == (report["floor"][FD], report["untrained"][FD])

    again = (project / "metrics/evaluate.json").read_bytes()
    run_evaluate(project)
    assert (project / "metrics/evaluate.json").read_bytes() == again

    _, other, _ = run_evaluate(project, seed=1)
    assert other["protocol"] != metrics["protocol"] and other[FD] != metrics[FD]


def test_without_held_out_images_the_metrics_say_why_memorisation_was_not_tested(tmp_path):
    output, metrics, report = run_evaluate(make_scorable_project(tmp_path, hold_out=False))
    assert metrics["memorised"] == "not tested: 0 held-out images, at least 20 needed" and metrics["memorised"] in output
    assert "memorisation" not in report and "memorised_p" not in metrics
    assert report["floor"]["images"] == 40 and metrics[FD] > 0
    assert Image.open(tmp_path / "project/data/evaluation/neighbours.png").height > 0


def test_failed_evaluation_leaves_no_earlier_scores(tmp_path):
    project = copy_project(tmp_path)
    earlier = [project / path for path in ("metrics/evaluate.json", "data/evaluation/report.json", "data/evaluation/neighbours.png")]
    for path in earlier:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    done = run_stage(project, "evaluate", "--model", "missing.safetensors")
    assert done.returncode == 1 and "missing.safetensors" in done.stderr
    assert not any(path.exists() for path in earlier)


def test_other_training_data_is_noted():
    assert describe_data({"data_fingerprint": "a", "protocol": {"data": "a"}}) == ""
    assert "trained on other images (a)" in describe_data({"data_fingerprint": "a", "protocol": {"data": "b"}})


def test_generator_of_another_size_and_reference_of_other_images_are_rejected(tmp_path):
    index = write_shards(tmp_path / "shards", draw_pictures(40, 32))
    reference = refer(tmp_path / "shards", images=20)
    large = CARD.model_copy(update={"resolution": 64})
    with pytest.raises(FaceganError, match=r"expected a generator of 32×32 pixels, .* found one of 64×64 pixels"):
        evaluate(make_generator(), large, reference, tmp_path / "shards", open_lite(), choose(20))
    check_shards(reference, index, tmp_path / "shards")
    with pytest.raises(FaceganError, match=r"found others \(0000.*run stages/reference\.py"):
        check_shards(reference, index.model_copy(update={"fingerprint": "0" * 64}), tmp_path / "shards")


def test_reference_of_another_extractor_is_rejected(tmp_path):
    write_shards(tmp_path / "shards", draw_pictures(20, 32))
    reference = refer(tmp_path / "shards", images=20)
    other = dataclasses.replace(reference, protocol=dataclasses.replace(reference.protocol, extractor="inception"))
    with pytest.raises(FaceganError, match=r"found inception .*run stages/reference\.py again"):
        evaluate(make_generator(), CARD, other, tmp_path / "shards", open_lite(), choose(20))
