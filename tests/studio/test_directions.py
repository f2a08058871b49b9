"""Directions: those that move a generator's first layers furthest, for every model; their names."""

import pytest
import torch
from every_generator import SMALL, build_small

from facegan.common.errors import FaceganError
from facegan.models.latents import seeded_latents
from facegan.sampling import codes
from facegan.sampling.directions import COUNT, find_directions, first_matrix, move, name_direction, read_names


@pytest.mark.parametrize("name", SMALL)
def test_no_direction_moves_the_first_layer_further_than_the_first(name):
    generator, _ = build_small(name)
    matrix = first_matrix(generator)
    directions = find_directions(generator)
    ways = torch.nn.functional.normalize(directions, dim=1)
    strengths = (ways @ matrix.T).norm(dim=1)
    assert torch.allclose(ways @ ways.T, torch.eye(len(ways)), atol=1e-4)
    assert (strengths.diff() <= 1e-4).all()
    assert torch.isclose(strengths[0], torch.linalg.matrix_norm(matrix, 2), rtol=1e-4)  # the largest there is
    others = torch.nn.functional.normalize(torch.randn(500, matrix.shape[1], generator=torch.Generator().manual_seed(0)), dim=1)
    assert (others @ matrix.T).norm(dim=1).max() <= strengths[0] + 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_the_matrix_is_how_the_first_layer_reads(name):
    """What the generator computes first moves by A·n when its input moves by n: measured in the network, not in its weights."""
    generator, _ = build_small(name)
    seen = []
    if name == "r3gan":  # what the first stage is given: the basis, weighed
        hooks = [generator.stages[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))]
    else:
        styled = name == "stylegan2"
        first = generator.start if name == "resnet" else None if styled else generator.layers[0]
        layers = [layer.convolution.affine for layer in (*generator.layers, *generator.to_rgb)] if styled else [first]
        hooks = [layer.register_forward_hook(lambda _, given, result: seen.append(result)) for layer in layers]
    code = codes.draw_codes(generator, 0, 1, 1.0)
    way = torch.randn(1, generator.latent_size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for moved in (code, move(code, way, torch.ones(1, 1))):
            codes.synthesize(generator, moved)
    for hook in hooks:
        hook.remove()
    before, after = (torch.cat([part.flatten() for part in seen[half : half + len(hooks)]]) for half in (0, len(hooks)))
    assert torch.isclose((after - before).norm(), (first_matrix(generator) @ way[0]).norm(), rtol=1e-3)


@pytest.mark.parametrize("name", SMALL)
def test_one_step_is_one_standard_deviation_of_the_codes(name):
    generator, _ = build_small(name)
    directions = find_directions(generator)
    drawn = codes.encode(generator, seeded_latents(generator, 2000, 7), 1.0)[:, 0]
    along = drawn @ torch.nn.functional.normalize(directions, dim=1).T
    assert torch.allclose(along.std(0), directions.norm(dim=1), rtol=0.1)


def test_names_are_kept_by_generator_and_can_be_forgotten(tmp_path):
    name_direction(tmp_path, "a" * 64, 2, "  beard ")
    name_direction(tmp_path, "a" * 64, 0, "hair")
    name_direction(tmp_path, "b" * 64, 0, "light")
    assert read_names(tmp_path, "a" * 64) == {2: "beard", 0: "hair"}
    name_direction(tmp_path, "a" * 64, 2, "")
    assert read_names(tmp_path, "a" * 64) == {0: "hair"}
    assert read_names(tmp_path, "b" * 64) == {0: "light"}


@pytest.mark.parametrize(("number", "name"), [(-1, "x"), (COUNT, "x"), (0, "x" * 31), (0, "a\nb"), (0, "\x1b[31m")])
def test_names_that_cannot_be_shown_are_refused(tmp_path, number, name):
    with pytest.raises(FaceganError):
        name_direction(tmp_path, "a" * 64, number, name)
    assert read_names(tmp_path, "a" * 64) == {}
