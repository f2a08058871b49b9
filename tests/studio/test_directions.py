"""Directions: the right singular vectors of the first layers, for every model; their names."""

import pytest
import torch
from small_generators import SMALL, build_small

from facegan.common.errors import FaceganError
from facegan.common.pictures import to_bytes
from facegan.common.shards import ShardWriter
from facegan.models.latents import seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.sampling import codes
from facegan.sampling.directions import COUNT, find_directions, first_matrix, move, name_direction, read_names
from facegan.sampling.label_directions import find_label_directions


@pytest.mark.parametrize("name", SMALL)
def test_directions_are_orthogonal_and_sorted_by_strength(name):
    generator, _ = build_small(name)
    matrix = first_matrix(generator)
    units = torch.nn.functional.normalize(find_directions(generator), dim=1)
    strengths = (units @ matrix.T).norm(dim=1)
    assert torch.allclose(units @ units.T, torch.eye(len(units)), atol=1e-4)
    assert (strengths.diff() <= 1e-4).all()
    assert torch.isclose(strengths[0], torch.linalg.matrix_norm(matrix, 2), rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_the_matrix_predicts_the_change_of_the_first_layers_output(name):
    """Moving the code by n changes the output of the first layers by A·n, measured in the network with forward hooks."""
    generator, _ = build_small(name)
    seen = []
    if name == "r3gan":  # the weighted basis is the input of the first stage
        hooks = [generator.stages[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    else:
        if name == "stylegan2":
            layers = [layer.convolution.affine for layer in (*generator.layers, *generator.to_rgb)]
        else:
            layers = [generator.start if name == "resnet" else generator.layers[0]]
        hooks = [layer.register_forward_hook(lambda _, inputs, output: seen.append(output)) for layer in layers]
    code = codes.draw_codes(generator, 0, 1, 1.0)
    direction = torch.randn(1, generator.latent_size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for moved in (code, move(code, direction, torch.ones(1, 1))):
            codes.synthesize(generator, moved)
    before, after = (torch.cat([part.flatten() for part in seen[half : half + len(hooks)]]) for half in (0, len(hooks)))
    assert torch.isclose((after - before).norm(), (first_matrix(generator) @ direction[0]).norm(), rtol=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_one_step_is_one_standard_deviation_of_the_codes(name):
    generator, _ = build_small(name)
    directions = find_directions(generator)
    drawn = codes.encode(generator, seeded_latents(generator, 2000, 7), 1.0)[:, 0]
    along = drawn @ torch.nn.functional.normalize(directions, dim=1).T
    assert torch.allclose(along.std(0), directions.norm(dim=1), rtol=0.1)


def test_names_are_stored_per_generator_and_an_empty_name_removes_one(tmp_path):
    name_direction(tmp_path, "a" * 64, 2, "  beard ")
    name_direction(tmp_path, "a" * 64, 0, "hair")
    name_direction(tmp_path, "b" * 64, 0, "light")
    assert read_names(tmp_path, "a" * 64) == {2: "beard", 0: "hair"}
    name_direction(tmp_path, "a" * 64, 2, "")
    assert read_names(tmp_path, "a" * 64) == {0: "hair"}
    assert read_names(tmp_path, "b" * 64) == {0: "light"}


@pytest.mark.parametrize(("number", "name"), [(-1, "x"), (COUNT, "x"), (0, "x" * 31), (0, "a\nb"), (0, "\x1b[31m")])
def test_invalid_names_are_rejected(tmp_path, number, name):
    with pytest.raises(FaceganError):
        name_direction(tmp_path, "a" * 64, number, name)
    assert read_names(tmp_path, "a" * 64) == {}


class Painter(GeneratorNetwork):
    """Draws images whose brightness is the third number of the latent, with a dark band where the sixth is positive."""

    latent_size = 8

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, latents, noise=()):
        images = torch.tanh(latents[:, 2])[:, None, None, None].expand(-1, 3, 16, 16).clone()
        images[:, :, 4:8] -= (latents[:, 5] > 0).float()[:, None, None, None]
        return images.clamp(-1, 1)


def test_directions_of_labels_are_those_that_change_them(tmp_path):
    painter, latents = Painter(), torch.randn(400, 8, generator=torch.Generator().manual_seed(3))
    images = to_bytes(painter(latents))
    labels = (latents[:, [2, 5, 7]] > 0).int()
    columns = {"light": ("dark", "bright"), "band": ("0", "1"), "unseen": ("0", "1")}
    with ShardWriter(tmp_path, 16, columns=columns) as writer:
        for image, row in zip(images.numpy(), labels.tolist(), strict=True):
            writer.add("train", image, row)
        writer.finish("none", "lanczos", "drawn")
    found = find_label_directions(painter, tmp_path, lambda faces: codes.render(painter, faces))
    assert {name: int(direction.abs().argmax()) for name, direction in found.items()} == {"light=bright": 2, "band=1": 5}
    for name, position in (("light=bright", 2), ("band=1", 5)):
        assert found[name][position] > 0.95 * found[name].norm() and found[name].norm() == pytest.approx(1, abs=0.1)
