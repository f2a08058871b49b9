"""Label accuracy: generators that show their labels, that ignore them, and that show them on some of the images."""

import numpy as np
import pytest
import torch
from references import CARD, choose, open_lite, refer, write_shards

from facegan.common.labels import Column, Labels, find_positions, summarize
from facegan.common.pictures import from_bytes
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.scoring.evaluate import describe, evaluate, generate, summarise
from facegan.scoring.label_accuracy import classify, measure_label_accuracy
from facegan.scoring.scores import extract_features

SIZE = 32
COLUMNS = {"hat": ("none", "green", "white"), "beard": ("0", "1")}


def paint(hat: int, beard: int, random: np.random.Generator) -> np.ndarray:
    """Returns an image (3, H, W) in uint8 with a hat of a colour, a beard or none, and noise."""
    image = np.full((3, SIZE, SIZE), 120.0)
    image[:, :10] = np.array([(40, 40, 160), (40, 200, 60), (230, 230, 230)][hat])[:, None, None]
    image[:, 20:, 8:24] = 20 if beard else 180
    return np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def draw_labels(count: int, random: np.random.Generator) -> np.ndarray:
    """Returns labels (N, 2); one beard in ten."""
    return np.stack([random.integers(0, 3, count), random.random(count) < 0.1], 1).astype(np.uint8)


class Painter(GeneratorNetwork):
    """A generator that paints what its labels say, changed by ``change`` (of their positions and the number of the image)."""

    latent_size, latent_distribution = 16, "normal"

    def __init__(self, labels: Labels, change=lambda label, number: label):
        super().__init__()
        self.labels, self.change, self.number = labels, change, 0
        self.weight = torch.nn.Parameter(torch.zeros(1))  # its device is that of the images

    def forward(self, latents, noise=()):
        pictures = []
        for row, latent in zip(find_positions(latents[:, 16:], self.labels.columns).tolist(), latents, strict=True):
            random = np.random.default_rng(int(latent[:16].abs().sum() * 1e6))
            pictures.append(paint(*self.change(row, self.number), random))
            self.number += 1
        return from_bytes(torch.from_numpy(np.stack(pictures)))


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Returns the shards, their reference, and the labels of the training images."""
    shards, random = tmp_path_factory.mktemp("labels") / "shards", np.random.default_rng(0)
    labels = draw_labels(260, random)
    pictures = [paint(*label, random) for label in labels]
    index = write_shards(shards, pictures[:200], pictures[200:], COLUMNS, labels.tolist())
    return shards, refer(shards, images=150), summarize(index.labels, torch.from_numpy(labels[:200]))


def measure(real, change, labels: Labels | None = None, distort=lambda images: images) -> dict:
    """Returns the accuracies of 120 images that are painted with changed labels, and then distorted."""
    shards, reference, known = real
    painter, parameters = Painter(labels or known, change), choose(120)
    images = map(distort, generate(painter, parameters, torch.device("cpu")))
    features = extract_features(open_lite(), reference.components, images)
    positions = find_positions(seeded_latents(painter, 120, parameters.seed)[:, 16:], painter.labels.columns)
    return measure_label_accuracy(features, positions, painter.labels.columns, reference, shards)


def test_a_generator_that_shows_its_labels_is_as_accurate_as_real_images(real):
    shards, reference, known = real
    report, _ = evaluate(Painter(known), CARD, reference, shards, open_lite(), choose(120))
    values = {part: report[part]["label_accuracy"] for part in ("generated", "floor", "untrained")}
    assert min(values["generated"], values["floor"]) > 0.97 and values["untrained"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert list(report["labels"]) == ["hat", "beard"]
    hat = report["labels"]["hat"]["values"]
    assert sum(part["images"] for part in hat.values()) == 120
    assert all(abs(part["kd_efficientnet_lite0"]) < 0.002 for part in hat.values())
    metrics = summarise(report, "efficientnet_lite0")
    assert (metrics["label_accuracy"], metrics["label_accuracy_real"]) == (values["generated"], values["floor"]) and len(metrics) <= 13
    shown = describe(report, "efficientnet_lite0")
    assert f"label_accuracy {values['generated']:.4g}, another seed within ±" in shown and "guessing 0.33), beard" in shown
    assert "mean of hat, beard" in report["protocol"]["labels"] and "200 training images" in report["protocol"]["labels"]


def test_a_rare_value_counts_as_much_as_a_frequent_one(real):
    """Without beards 90% of the images are right, and half of the values."""
    columns = measure(real, lambda label, number: (label[0], 0))["columns"]
    assert columns["hat"]["generated"] > 0.97 and columns["beard"]["generated"] == pytest.approx(0.5, abs=0.1)


def test_what_all_generated_images_have_in_common_does_not_count(real):
    columns = measure(real, lambda label, number: label, distort=lambda images: images // 3 + 60)["columns"]
    assert columns["hat"]["generated"] > 0.9


def test_known_share_of_wrong_labels_and_its_interval(real):
    """Every fourth hat has the next colour; another seed's accuracy differs by the spread of 120 images."""
    labels = measure(real, lambda label, number: ((label[0] + (number % 4 == 0)) % 3, label[1]))
    hat = labels["columns"]["hat"]
    assert hat["generated"] == pytest.approx(0.75, abs=0.04) and hat["real"] > 0.97
    assert labels["generated"] == pytest.approx((hat["generated"] + labels["columns"]["beard"]["generated"]) / 2)
    expected = 1.96 * np.sqrt(2 * 0.75 * 0.25 / 120) / 2  # of the mean over two columns, of which one has no errors
    assert labels["margin"] == pytest.approx(expected, rel=0.15)
    assert max(part["kd_efficientnet_lite0"] for part in hat["values"].values()) > 0.003


def test_values_that_no_training_image_has_are_not_recognised():
    random = np.random.default_rng(0)
    features = [random.normal(size=(count, 3)) for count in (40, 20, 5)]
    values = [np.arange(40) % 2, np.full(20, 2), np.arange(5) % 2]
    hits, _ = classify(features, values)
    assert not hits.any()


def test_only_columns_of_the_real_images_are_measured(real):
    *_, known = real
    hat, beard = known.columns
    other = Labels(columns=(Column(name="smile", values=("0", "1"), counts=(1, 1)), beard), combinations=((0, 0, 5), (1, 1, 5)))
    painted = measure(real, lambda label, number: (label[0], label[1]), other)
    assert list(painted["columns"]) == ["beard"] and painted["generated"] > 0.97
    strange = Labels(columns=(beard.model_copy(update={"values": ("no", "yes")}), hat), combinations=((0, 0, 5), (1, 1, 5)))
    assert list(measure(real, lambda label, number: (label[1], label[0]), strange)["columns"]) == ["hat"]


def test_without_held_out_images_there_is_no_ceiling(real, tmp_path):
    _, _, known = real
    random = np.random.default_rng(1)
    labels = draw_labels(60, random)
    write_shards(tmp_path / "shards", [paint(*label, random) for label in labels], (), COLUMNS, labels.tolist())
    report, _ = evaluate(Painter(known), CARD, refer(tmp_path / "shards", 40), tmp_path / "shards", open_lite(), choose(40))
    metrics = summarise(report, "efficientnet_lite0")
    assert metrics["label_accuracy"] > 0.9 and "label_accuracy_real" not in metrics
    assert "labels recognised in generated images: hat " in describe(report, "efficientnet_lite0")
