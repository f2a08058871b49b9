"""The share of pictures in which a face is found: drawn heads against noise, beside the same of real pictures."""

import numpy as np
import torch
from drawn_faces import draw_photo
from PIL import Image

from facegan.common.shards import ShardWriter
from facegan.scoring.extractors import open_extractor
from facegan.scoring.face_share import LOOKED_AT, look_for_faces, measure_face_share
from facegan.scoring.reference import make_reference


def draw_heads(count: int, size: int = 64) -> torch.Tensor:
    """Returns pictures (count, 3, size, size) of one head each."""
    photos = (draw_photo((240, 240), [(120 + 114j, 60, 0)], seed)[0] for seed in range(count))
    return torch.from_numpy(
        np.array([np.asarray(photo.resize((size, size), Image.Resampling.LANCZOS)).transpose(2, 0, 1) for photo in photos])
    )


def draw_noise(count: int, size: int = 64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8))


def make_shards(folder, pictures):
    """Writes shards of these pictures and returns the reference of 20 of them."""
    with ShardWriter(folder / "shards", pictures.shape[-1]) as writer:
        for picture in pictures:
            writer.add("train", picture.numpy())
        writer.finish(crop="none", filter="lanczos", source_fingerprint="drawn")
    extractor = open_extractor("efficientnet_lite0", device="cpu")
    return make_reference(folder / "shards", folder / "reference", extractor, images=20, memorisation_images=None)


def test_heads_are_told_from_noise_on_both_sides(tmp_path):
    heads, noise = draw_heads(24), draw_noise(24)
    reference = make_shards(tmp_path, heads)
    found = []
    passed = list(look_for_faces(iter(torch.cat([heads[:6], noise[:18]]).split(8)), found))
    shares = measure_face_share(found, reference, tmp_path / "shards")
    assert (shares.generated_images, shares.real_images) == (24, 20)
    assert 5 / 24 <= shares.generated <= 6 / 24 and shares.real >= 0.8
    assert measure_face_share(found, reference, tmp_path / "shards") == shares
    assert torch.equal(torch.cat(passed), torch.cat([heads[:6], noise[:18]]))  # what the scores see is what came


def test_of_many_pictures_the_first_are_looked_at():
    found = []
    assert sum(len(batch) for batch in look_for_faces(iter(draw_noise(LOOKED_AT + 30, 32).split(64)), found)) == LOOKED_AT + 30
    assert len(found) == LOOKED_AT


def test_very_small_pictures_are_not_looked_at(tmp_path):
    found = []
    list(look_for_faces(iter([draw_heads(20, 28)]), found))
    assert measure_face_share(found, make_shards(tmp_path, draw_heads(20, 28)), tmp_path / "shards") is None
