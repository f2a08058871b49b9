"""GAN inversion: a generated face is found again; photos are cropped, or rejected in one line."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from projects import ROOT, draw_pictures
from small_generators import build_small

from facegan.common.errors import FaceganError
from facegan.models.generator_file import load_generator
from facegan.sampling import codes
from facegan.studio.finding import find
from facegan.studio.photos import MAX_BYTES, read_target

pytestmark = pytest.mark.slow


def draw_target(generator):
    """Returns a face (3, H, W) of the generator, whose weights are frozen."""
    generator.requires_grad_(False)
    with torch.inference_mode():
        face = codes.synthesize(generator, codes.draw_codes(generator, 77, 1, 1.0))[0].clamp(-1, 1)
    return face.clone()


@pytest.mark.parametrize("name", ["dcgan", "tutorial28", "stylegan2"])
def test_a_generated_face_is_found_again(name):
    generator, _ = build_small(name)
    target = draw_target(generator)
    found = list(find(generator, target, steps=150, every=50))
    assert [part.step for part in found] == [50, 100, 150]
    assert found[-1].error < 3  # of 255, root mean square; random faces differ by 60
    again = codes.synthesize(generator, found[-1].code)[0].detach()
    assert float((again - target).square().mean().sqrt() * 127.5) == pytest.approx(found[-1].error, abs=1)


def test_a_face_of_the_shipped_generator_is_found_again():
    generator, _ = load_generator(ROOT / "pretrained" / "avatars.safetensors")
    first, *_, last = find(generator, draw_target(generator), steps=120, every=20)
    assert last.error < min(12, 0.6 * first.error)


def test_a_search_can_continue_in_another_thread():
    generator, _ = build_small("dcgan")
    target = draw_target(generator)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        search = find(generator, target, steps=30, every=10)
        assert [thread.submit(next, search).result().step for thread in (first, second, first)] == [10, 20, 30]
        for thread in (first, second):  # neither is left with gradients disabled
            assert len(thread.submit(lambda: list(find(generator, target, steps=20, every=10))).result()) == 2


def as_png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def test_a_photo_without_a_face_gives_its_centred_square():
    picture = draw_pictures(1, 64)[0].transpose(1, 2, 0)
    wide = np.concatenate([np.zeros_like(picture), picture, np.zeros_like(picture)], 1)
    target, crop = read_target(as_png(wide), 32, straighten=True)
    assert "centred square" in crop
    expected = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert np.abs(target.astype(int) - expected).max() <= 1


TRUNCATED = as_png(draw_pictures(1, 64)[0].transpose(1, 2, 0))[:300]


@pytest.mark.parametrize("content", [b"", b"no picture", TRUNCATED, b"\0" * (MAX_BYTES + 1)], ids=["empty", "text", "truncated", "large"])
def test_invalid_photos_are_rejected(content):
    with pytest.raises(FaceganError, match=r"expected a photo .*; found.*; "):
        read_target(content, 32, straighten=True)


def test_pictures_with_too_many_pixels_are_rejected_before_decoding():
    large = as_png(np.zeros((10_000, 10_000, 3), np.uint8))
    assert len(large) < MAX_BYTES
    with pytest.raises(FaceganError, match=r"100,000,000|10,000"):
        read_target(large, 32, straighten=False)
