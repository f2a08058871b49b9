"""The share of images with a face: drawn heads and noise."""

import numpy as np
import torch
from drawn_faces import draw_photo
from PIL import Image
from references import refer, write_shards

from facegan.scoring.face_share import MOST_IMAGES, measure_face_share, watch_for_faces


def draw_heads(count: int, size: int = 64) -> torch.Tensor:
    """Returns images (count, 3, size, size) of one head each."""
    photos = (draw_photo((240, 240), [(120 + 114j, 60, 0)], seed)[0] for seed in range(count))
    small = (photo.resize((size, size), Image.Resampling.LANCZOS) for photo in photos)
    return torch.from_numpy(np.stack([np.asarray(photo).transpose(2, 0, 1) for photo in small]))


def draw_noise(count: int, size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8))


def test_heads_are_distinguished_from_noise(tmp_path):
    heads, noise = draw_heads(24), draw_noise(24)
    write_shards(tmp_path / "shards", heads.numpy())
    reference = refer(tmp_path / "shards", images=20)
    images, found = torch.cat([heads[:6], noise[:18]]), []
    assert torch.equal(torch.cat(list(watch_for_faces(iter(images.split(8)), found))), images)
    shares = measure_face_share(found, reference, tmp_path / "shards")
    assert (shares.generated_images, shares.real_images) == (24, 20)
    assert 5 / 24 <= shares.generated <= 6 / 24 and shares.real >= 0.8
    assert measure_face_share(found, reference, tmp_path / "shards") == shares


def test_only_the_first_images_are_searched():
    found = []
    assert sum(len(batch) for batch in watch_for_faces(iter(draw_noise(MOST_IMAGES + 30, 32).split(64)), found)) == MOST_IMAGES + 30
    assert len(found) == MOST_IMAGES


def test_very_small_images_are_not_searched(tmp_path):
    found = []
    list(watch_for_faces(iter([draw_heads(20, 28)]), found))
    write_shards(tmp_path / "shards", draw_heads(20, 28).numpy())
    assert measure_face_share(found, refer(tmp_path / "shards", images=20), tmp_path / "shards") is None
