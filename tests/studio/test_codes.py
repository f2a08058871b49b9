"""Codes: the same faces from the same text, blends that stay likely, walks without a seam."""

import pytest
import torch
from every_generator import SMALL, build_small

from facegan.common.errors import FaceganError
from facegan.models.latents import seeded_latents
from facegan.sampling import codes

NO_FACES = [
    "",
    "x",
    "1-2",
    "1-2-3-4",
    "-1-2-1",
    "1-256-1",
    "4294967296-0-1",
    "1-1-9",
    "1-1-0",
    "1-1-nan",
    "1-1-inf",
    "1 1 1",
    "١-1-1",
    "~",
    "~!!",
    "~AAAA",
    "~" + "A" * 999,
]


@pytest.mark.parametrize("name", SMALL)
def test_codes_give_the_generators_own_faces(name):
    generator, _ = build_small(name)
    latents = seeded_latents(generator, 5, 3)
    with torch.inference_mode():
        assert torch.equal(codes.synthesize(generator, codes.encode(generator, latents, 1.0)), generator(latents))


@pytest.mark.parametrize("name", SMALL)
def test_fewer_and_more_faces_of_a_seed_are_the_same_ones(name):
    generator, _ = build_small(name)
    many = codes.draw_codes(generator, 5, 100, 0.8)
    assert torch.equal(codes.draw_codes(generator, 5, 7, 0.8), many[:7])
    assert not torch.equal(codes.draw_codes(generator, 6, 7, 0.8), many[:7])
    assert torch.allclose(many[:64], codes.encode(generator, seeded_latents(generator, 64, 5), 0.8), atol=1e-5)  # stages/sample.py's


@pytest.mark.parametrize("name", SMALL)
def test_a_face_as_text_is_that_face(name):
    generator, _ = build_small(name)
    drawn = codes.draw_codes(generator, 9, 4, 0.75)
    assert torch.equal(codes.read_faces(generator, codes.name_faces(9, 4, 0.75)), drawn)
    for code in (drawn[2], codes.mix_styles(drawn[:2], 1)[0]):
        text = codes.write_code(code)
        back = codes.read_faces(generator, [text])
        assert torch.allclose(back[0], code, atol=2e-3)
        assert codes.write_code(back[0]) == text


@pytest.mark.parametrize("face", NO_FACES)
def test_what_is_no_face_is_refused_in_a_line(face):
    generator, _ = build_small()
    with pytest.raises(FaceganError, match=r"expected .*; found .*; "):
        codes.read_faces(generator, [face])


def test_infinite_codes_and_those_of_another_shape_are_refused():
    generator, _ = build_small()
    for code in (torch.full((1, 16), torch.inf), torch.full((1, 16), torch.nan), torch.zeros(1, 17)):
        with pytest.raises(FaceganError):
            codes.read_faces(generator, [codes.write_code(code)])


@pytest.mark.parametrize("name", SMALL)
def test_a_blend_ends_at_its_faces_and_keeps_latents_likely(name):
    generator, _ = build_small(name)
    faces = codes.draw_codes(generator, 1, 3, 1.0)
    assert torch.allclose(codes.blend(generator, faces, torch.eye(3)), faces, atol=1e-5)
    middle = codes.blend(generator, faces, torch.tensor([[0.5, 0.5, 0.0]]))
    if generator.latent_distribution == "normal" and not codes.has_styles(generator):
        assert torch.allclose(middle.norm(), faces[:2].norm(dim=2).mean())
    else:
        assert torch.allclose(middle[0], faces[:2].mean(0), atol=1e-6)


def test_a_walk_begins_at_each_face_and_closes():
    generator, _ = build_small()
    faces = codes.draw_codes(generator, 1, 3, 1.0)
    way = codes.walk(generator, faces, 10)
    assert way.shape == (30, 1, 16)
    assert torch.allclose(way[::10], faces, atol=1e-5)
    steps = (way.roll(-1, 0) - way).norm(dim=2)
    assert steps.max() < 0.3 * (faces - faces.roll(-1, 0)).norm(dim=2).max()  # the step from the last frame to the first too


def test_style_mixing_takes_coarse_layers_from_the_first_face():
    generator, _ = build_small("stylegan2")
    faces = codes.draw_codes(generator, 1, 2, 1.0)
    mixed = codes.mix_styles(faces, 3)[0]
    assert torch.equal(mixed[:3], faces[0, :3])
    assert torch.equal(mixed[3:], faces[1, 3:])
