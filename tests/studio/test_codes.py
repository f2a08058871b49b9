"""Codes: faces as text, blends, walks, style mixing."""

import pytest
import torch
from small_generators import SMALL, build_small

from facegan.common.errors import FaceganError
from facegan.models.latents import seeded_latents
from facegan.sampling import codes

INVALID_FACES = ["", "x", "1-2", "1-2-3-4", "-1-2-1", "1-256-1", "4294967296-0-1", "1-1-9", "1-1-0", "1-1-nan", "1-1-inf", "1 1 1", "١-1-1"]
INVALID_CODES = ["~", "~!!", "~AAAA", "~" + "A" * 999]


@pytest.mark.parametrize("name", SMALL)
def test_codes_give_the_generators_own_faces(name):
    generator, _ = build_small(name)
    latents = seeded_latents(generator, 5, 3)
    with torch.inference_mode():
        assert torch.equal(codes.synthesize(generator, codes.encode(generator, latents, 1.0)), generator(latents))


@pytest.mark.parametrize("name", SMALL)
def test_the_first_faces_of_a_seed_do_not_depend_on_their_number(name):
    generator, _ = build_small(name)
    many = codes.draw_codes(generator, 5, 100, 0.8)
    assert torch.equal(codes.draw_codes(generator, 5, 7, 0.8), many[:7])
    assert not torch.equal(codes.draw_codes(generator, 6, 7, 0.8), many[:7])
    assert torch.allclose(many[:64], codes.encode(generator, seeded_latents(generator, 64, 5), 0.8), atol=1e-5)  # as stages/sample.py


@pytest.mark.parametrize("name", SMALL)
def test_a_face_can_be_written_as_text_and_read_again(name):
    generator, _ = build_small(name)
    drawn = codes.draw_codes(generator, 9, 4, 0.75)
    assert torch.equal(codes.read_faces(generator, codes.name_faces(9, 4, 0.75)), drawn)
    for code in (drawn[2], codes.mix_styles(drawn[:2], 1)[0]):
        text = codes.write_code(code)
        read = codes.read_faces(generator, [text])[0]
        assert torch.allclose(read, code, atol=2e-3)
        assert codes.write_code(read) == text


@pytest.mark.parametrize("face", INVALID_FACES + INVALID_CODES)
def test_invalid_faces_are_rejected(face):
    generator, _ = build_small()
    with pytest.raises(FaceganError, match=r"expected .*; found .*; "):
        codes.read_faces(generator, [face])


@pytest.mark.parametrize("code", [torch.full((1, 16), torch.inf), torch.full((1, 16), torch.nan), torch.zeros(1, 17)])
def test_codes_that_are_not_finite_or_of_another_shape_are_rejected(code):
    generator, _ = build_small()
    with pytest.raises(FaceganError):
        codes.read_faces(generator, [codes.write_code(code)])


@pytest.mark.parametrize("name", SMALL)
def test_a_blend_keeps_the_norm_of_normal_latents(name):
    generator, _ = build_small(name)
    faces = codes.draw_codes(generator, 1, 3, 1.0)
    assert torch.allclose(codes.blend(generator, faces, torch.eye(3)), faces, atol=1e-5)
    middle = codes.blend(generator, faces, torch.tensor([[0.5, 0.5, 0.0]]))
    if generator.latent_distribution == "normal" and not codes.has_styles(generator):
        assert torch.allclose(middle.norm(), faces[:2].norm(dim=2).mean())
    else:
        assert torch.allclose(middle[0], faces[:2].mean(0), atol=1e-6)


def test_a_walk_passes_through_each_face_and_is_closed():
    generator, _ = build_small()
    faces = codes.draw_codes(generator, 1, 3, 1.0)
    frames = codes.walk(generator, faces, 10)
    assert frames.shape == (30, 1, 16)
    assert torch.allclose(frames[::10], faces, atol=1e-5)
    steps = (frames.roll(-1, 0) - frames).norm(dim=2)  # including the one from the last frame to the first
    assert steps.max() < 0.3 * (faces - faces.roll(-1, 0)).norm(dim=2).max()


def test_style_mixing_takes_the_first_layers_from_the_first_face():
    generator, _ = build_small("stylegan2")
    faces = codes.draw_codes(generator, 1, 2, 1.0)
    mixed = codes.mix_styles(faces, 3)[0]
    assert torch.equal(mixed[:3], faces[0, :3])
    assert torch.equal(mixed[3:], faces[1, 3:])
