"""The reference: its images, its floor, and when DVC recomputes it."""

import pytest
import torch
from projects import copy_project, make_shards

from facegan.common.errors import FaceganError
from facegan.common.shards import open_split
from facegan.scoring.distances import fit_gaussian, frechet_distance
from facegan.scoring.extractors import Extractor
from facegan.scoring.reference import gather, make_reference, shuffle


class Corners(torch.nn.Module):
    """A network whose features are the four corner pixels."""

    def forward(self, images):
        return images[:, :, ::31, ::31].flatten(1).float()  # (B, 12)


CORNERS = Extractor("corners", "0" * 64, "none", Corners(), torch.device("cpu"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = copy_project(tmp_path_factory.mktemp("reference"))
    make_shards(project, count=200)  # 180 for training, 20 held out
    return project


def extract_corners(project, split, rows):
    return CORNERS(open_split(project / "data/shards", split)[0][rows])


def make(project, folder, images, memorisation_images=None):
    return make_reference(project / "data/shards", folder, CORNERS, images, memorisation_images)


def test_real_images_are_the_first_in_a_fixed_order(project, tmp_path):
    reference = make(project, tmp_path, 50)
    assert torch.equal(reference.real.network, extract_corners(project, "train", shuffle(180)[:50]))
    assert torch.equal(reference.train, extract_corners(project, "train", reference.train_rows)) and len(reference.train) == 180
    assert torch.equal(reference.holdout, extract_corners(project, "holdout", reference.holdout_rows)) and len(reference.holdout) == 20


def test_the_floor_is_the_distance_to_the_next_real_images(project, tmp_path):
    reference = make(project, tmp_path, 50, memorisation_images=30)
    first, second = extract_corners(project, "train", shuffle(180)[:100]).split(50)
    assert reference.floor["images"] == 50
    assert reference.floor["fd_corners"] == frechet_distance(fit_gaussian(first), fit_gaussian(second))
    assert len(reference.train) == 50  # at least the real images are searched


def test_held_out_images_complete_the_second_set(project, tmp_path):
    reference = make(project, tmp_path, 90)
    assert reference.floor["images"] == 90
    reference = make(project, tmp_path, 95)
    second = torch.cat([extract_corners(project, "train", shuffle(180)[95:]), extract_corners(project, "holdout", shuffle(20)[:10])])
    assert reference.floor["fd_corners"] == frechet_distance(fit_gaussian(reference.real.network), fit_gaussian(second))


def test_all_images_are_used_if_there_are_too_few(project, tmp_path):
    reference = make(project, tmp_path, 10_000)
    assert reference.protocol.real == len(reference.real.network) == 180
    assert reference.floor["images"] == 20
    small = copy_project(tmp_path)
    make_shards(small, count=12)
    with pytest.raises(FaceganError, match="expected at least 20 training images to score against; found 11"):
        make(small, tmp_path, 5)


def test_images_are_returned_in_the_requested_order(project):
    rows = torch.tensor([179, 0, 3, 0])
    assert torch.equal(gather(project / "data/shards", "train", rows), open_split(project / "data/shards", "train")[0][rows])
