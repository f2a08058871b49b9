"""Finding a face: one that the generator drew is found again; photos are cut out, or refused in a line."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from every_generator import build_small
from PIL import Image
from projects import ROOT, draw_pictures

from facegan.common.errors import FaceganError
from facegan.models.generator_file import load_generator
from facegan.sampling import codes
from facegan.studio.finding import find
from facegan.studio.photos import MOST_BYTES, read_target


@pytest.mark.parametrize("name", ["dcgan", "tutorial28", "stylegan2"])
def test_a_generated_face_is_found_again(name):
    generator, _ = build_small(name)
    generator.requires_grad_(False)
    with torch.inference_mode():
        target = codes.synthesize(generator, codes.draw_codes(generator, 77, 1, 1.0))[0].clamp(-1, 1)
    found = list(find(generator, target.clone(), steps=150, every=50))
    assert [part.step for part in found] == [50, 100, 150]
    assert found[-1].error < 3  # of 255, root mean square; blind guesses are off by 60
    with torch.inference_mode():
        again = codes.synthesize(generator, found[-1].code)[0]
    assert abs(float((again - target).square().mean().sqrt() * 127.5) - found[-1].error) < 1  # the code gives what is told


def test_the_shipped_generators_own_face_is_found_again():
    generator, _ = load_generator(ROOT / "pretrained" / "avatars.safetensors")
    generator.requires_grad_(False)
    with torch.inference_mode():
        target = codes.synthesize(generator, codes.draw_codes(generator, 77, 1, 1.0))[0].clamp(-1, 1)
    first, *_, last = find(generator, target.clone(), steps=120, every=20)
    assert last.error < 0.6 * first.error
    assert last.error < 12


def test_a_search_goes_on_in_any_thread_and_leaves_each_able_to_search():
    generator, _ = build_small("dcgan")
    generator.requires_grad_(False)
    with torch.inference_mode():
        target = codes.synthesize(generator, codes.draw_codes(generator, 77, 1, 1.0))[0].clamp(-1, 1)
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        search = find(generator, target.clone(), steps=30, every=10)
        assert [thread.submit(next, search).result().step for thread in (first, second, first)] == [10, 20, 30]
        for thread in (first, second):
            assert len(thread.submit(lambda: list(find(generator, target.clone(), steps=20, every=10))).result()) == 2


def as_file(picture, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, kind)
    return file.getvalue()


def test_a_photo_without_a_face_gives_its_centred_square():
    picture = draw_pictures(1, 64)[0].transpose(1, 2, 0)
    wide = np.concatenate([np.zeros_like(picture), picture, np.zeros_like(picture)], 1)
    target, words = read_target(as_file(wide), 32, straighten=True)
    assert target.shape == (3, 32, 32)
    assert "centred square" in words
    expected = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
    assert np.abs(target.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no picture",
        as_file(draw_pictures(1, 64)[0].transpose(1, 2, 0))[:300],
        b"\0" * (MOST_BYTES + 1),
        (ROOT / "params.yaml").read_bytes(),
    ],
)
def test_what_is_no_photo_is_refused_in_a_line(content):
    with pytest.raises(FaceganError, match=r"expected a photo .*; found.*; "):
        read_target(content, 32, straighten=True)


def test_a_hundred_megapixels_are_refused_before_they_are_decoded():
    large = as_file(np.zeros((10_000, 10_000, 3), np.uint8))
    assert len(large) < MOST_BYTES
    with pytest.raises(FaceganError, match=r"100,000,000|10,000"):
        read_target(large, 32, straighten=False)
