"""Origins: the nearest photos of a picture that is one of them, by pixels and by features."""

import pytest
import torch
from projects import draw_pictures, make_shards

from facegan.common.errors import FaceganError
from facegan.common.shards import read_index
from facegan.scoring.extractors import open_extractor
from facegan.scoring.reference import make_reference
from facegan.studio.origins import COUNT, find_origins


def test_a_photo_is_nearest_to_itself_by_pixels(tmp_path):
    make_shards(tmp_path)
    pictures = torch.from_numpy(draw_pictures(120, 32))
    found = find_origins(tmp_path, pictures[7], "other data")
    assert found.space.startswith("pixels")
    assert not found.same_data
    assert torch.equal(found.train[0], pictures[7])
    assert found.train_distances[0] == pytest.approx(0, abs=1)
    assert found.train.shape == found.holdout.shape == (COUNT, 3, 32, 32)
    assert found.train_distances == sorted(found.train_distances)
    held_out = find_origins(tmp_path, pictures[9], read_index(tmp_path / "data" / "shards").fingerprint)
    assert held_out.same_data
    assert torch.equal(held_out.holdout[0], pictures[9])
    assert held_out.train_distances[0] > held_out.holdout_distances[0]


def test_features_are_used_if_the_reference_was_computed_from_these_photos(tmp_path):
    make_shards(tmp_path)
    extractor = open_extractor("efficientnet_lite0", device="cpu")
    make_reference(tmp_path / "data" / "shards", tmp_path / "data" / "reference", extractor, 20, 40)
    pictures = torch.from_numpy(draw_pictures(120, 32))
    found = find_origins(tmp_path, pictures[9], "other data")
    assert found.space == "features of efficientnet_lite0"
    assert torch.equal(found.holdout[0], pictures[9])
    make_shards(tmp_path, seed=1)  # other photos
    assert find_origins(tmp_path, pictures[9], "other data").space.startswith("pixels")


def test_missing_shards_are_an_error_and_missing_held_out_photos_are_not(tmp_path):
    face = torch.zeros(3, 32, 32, dtype=torch.uint8)
    with pytest.raises(FaceganError, match="dvc repro"):
        find_origins(tmp_path, face, "data")
    make_shards(tmp_path, hold_out=False)
    found = find_origins(tmp_path, face, "data")
    assert (found.holdout_distances, len(found.holdout)) == ([], 0)
