"""Conditional networks, their latents and their files."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from small_generators import SMALL, make_card

from facegan.common.errors import FaceganError
from facegan.common.labels import NO_LABELS, Labels, check, decode, draw, encode, summarize
from facegan.models.generator_file import load_generator, save_generator
from facegan.models.latents import draw_batches, seeded_latents
from facegan.models.parameters import ModelParameters
from facegan.models.registry import build_discriminator, build_generator
from presets import COLUMNS

POSITIONS = torch.tensor([[0, 0]] * 5 + [[1, 2]] * 3 + [[0, 1]] * 2, dtype=torch.uint8)
LABELS = summarize(COLUMNS, POSITIONS)
CONDITIONAL = ["dcgan", "resnet", "r3gan", "stylegan2"]


def choose_model(name):
    resolution, arguments = SMALL[name]
    return TypeAdapter(ModelParameters).validate_python({"name": name, **arguments}), resolution


def build(role, name, labels=LABELS):
    torch.manual_seed(0)
    return role(*choose_model(name), labels).eval()


def test_labels_as_numbers_and_back():
    numbers = encode(POSITIONS, COLUMNS)
    assert numbers[5].tolist() == [0, 1, 0, 0, 1]
    assert decode(numbers, COLUMNS)[5] == {"glasses": "yes", "hair": "grey"}
    assert LABELS.combinations == ((0, 0, 5), (1, 2, 3), (0, 1, 2))
    assert (LABELS.size, NO_LABELS.size) == (5, 0)


def test_labels_are_drawn_as_often_as_in_the_training_data():
    random = torch.Generator().manual_seed(0)
    found = summarize(COLUMNS, draw(LABELS, {}, 10_000, random).byte()).combinations
    assert [row[:2] for row in found] == [(0, 0), (1, 2), (0, 1)]
    assert [row[2] for row in found] == pytest.approx([5000, 3000, 2000], abs=200)
    assert {tuple(row) for row in draw(LABELS, {"glasses": 0}, 500, random).tolist()} == {(0, 0), (0, 1)}
    together = draw(LABELS, {"glasses": 1, "hair": 0}, 10, random)  # in no training image
    assert together.tolist() == [[1, 0]] * 10


@pytest.mark.parametrize(
    ("given", "message"),
    [({"glases": "yes"}, "did you mean glasses"), ({"glasses": "Yes"}, "did you mean yes"), ({"hair": 1}, "black, brown, grey; found 1")],
)
def test_unknown_labels_are_rejected(given, message):
    with pytest.raises(FaceganError, match=message):
        check(given, COLUMNS)
    with pytest.raises(FaceganError, match="trained without"):
        check(given, ())


def test_numbers_and_booleans_name_binary_values():
    binary = (COLUMNS[0].model_copy(update={"values": ("0", "1")}),)
    assert check({"glasses": 1}, binary) == check({"glasses": True}, binary) == check({"glasses": "1"}, binary) == {"glasses": 1}


@pytest.mark.parametrize("latent_size", [1, 3, 100])
@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize("labels", [NO_LABELS, LABELS])
def test_batches_are_the_latents_of_the_seed(latent_size, distribution, labels):
    generator = SimpleNamespace(latent_size=latent_size, latent_distribution=distribution, labels=labels)
    batches = torch.cat(list(itertools.islice(draw_batches(generator, 16, seed=5), 4)))
    assert batches.shape == (64, latent_size + labels.size)
    assert torch.equal(batches, seeded_latents(generator, 64, 5))
    given = seeded_latents(generator, 64, 5, {"glasses": 1} if labels.columns else {})
    assert torch.equal(given[:, :latent_size], batches[:, :latent_size])


@pytest.mark.parametrize("name", CONDITIONAL)
def test_training_starts_from_the_unlabelled_network(name):
    labelled, plain = build(build_generator, name), build(build_generator, name, NO_LABELS)
    latents = seeded_latents(labelled, 4, 0)
    assert torch.equal(labelled(latents), plain(latents[:, : plain.latent_size]))
    with torch.no_grad():
        labelled.label_layer.weight.normal_()
    other = torch.cat([latents[:, : plain.latent_size], encode(torch.tensor([[1, 0]] * 4), COLUMNS)], 1)
    assert (labelled(latents) - labelled(other)).abs().max() > 1e-3


@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_discriminator_judges_images_with_their_labels(name):
    discriminator = build(build_discriminator, name)
    images, labels = torch.randn(4, 3, SMALL[name][0], SMALL[name][0]), encode(POSITIONS[[0, 0, 5, 5]], COLUMNS)
    with torch.no_grad():
        for parameter in discriminator.label_layer.parameters():
            parameter.normal_()
    one, other = discriminator(images, (), labels), discriminator(images, (), labels.flip(0))
    assert torch.equal(one[:, 1:], other[:, 1:])  # the classifier does not see the labels
    matches = ((labels - labels.flip(0)) * one[:, 1:]).sum(1)
    torch.testing.assert_close(one[:, 0] - other[:, 0], matches, rtol=1e-3, atol=1e-3)
    assert matches.abs().max() > 1e-3


@pytest.mark.parametrize("name", ["tutorial28", "keras128"])
def test_the_tutorials_models_have_no_labels(name):
    for role in (build_generator, build_discriminator):
        with pytest.raises(FaceganError, match=r"data\.labels: expected null"):
            build(role, name)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_generators_file_keeps_its_labels(name, tmp_path):
    model, resolution = choose_model(name)
    generator, path = build(build_generator, name), tmp_path / "generator.safetensors"
    save_generator(path, generator, make_card(1000, model, resolution).model_copy(update={"labels": LABELS}))
    loaded, card = load_generator(path)
    assert loaded.labels == card.labels == LABELS
    assert torch.equal(loaded(seeded_latents(loaded, 2, 1)), generator(seeded_latents(generator, 2, 1)))


def test_an_unlabelled_generators_file_says_nothing_of_labels(tmp_path):
    model, resolution = choose_model("resnet")
    save_generator(tmp_path / "generator.safetensors", build(build_generator, "resnet", NO_LABELS), make_card(1000, model, resolution))
    assert b"labels" not in (tmp_path / "generator.safetensors").read_bytes()


@pytest.mark.parametrize("combinations", [(), ((0, 0),), ((0, 3, 1),), ((2, 0, 1),), ((0, 0, 0),)])
def test_impossible_combinations_are_rejected(combinations):
    with pytest.raises(ValidationError):
        Labels(columns=COLUMNS, combinations=combinations)
