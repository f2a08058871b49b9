"""The Inception scores match those of unmodified pytorch-fid, clean-fid and torch-fidelity, on the same images and weights.

The weights are random. The comparison covers all steps from a PNG file to the features, and from there to the score. Where the other
tools would compute the root of a 2048×2048 matrix for half a minute, the distance uses only some of the features;
``benchmarks/agreement.py`` uses all of them.
"""

import functools

import numpy as np
import pytest
import torch
from cleanfid import fid as clean_fid
from cleanfid.features import build_feature_extractor
from projects import draw_pictures
from pytorch_fid import fid_score
from pytorch_fid.inception import InceptionV3
from references import save_pictures
from torch_fidelity import calculate_metrics

from benchmarks.random_inception import save_random_inception
from facegan.scoring import distances as scores
from facegan.scoring.extractors import extract, open_extractor
from facegan.scoring.picture_scores import extract_pictures, score_pictures
from facegan.scoring.reference import shuffle

COUNT = 10
SLICE = 6  # fewer features than images, so that covariances are not singular
HUB_NAME = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """PyTorch's download cache, with random weights under the name that pytorch-fid and clean-fid use."""
    folder = tmp_path_factory.mktemp("hub")
    save_random_inception(folder / "hub" / "checkpoints" / HUB_NAME, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def weights(hub):
    return hub / "hub" / "checkpoints" / HUB_NAME


@pytest.fixture(scope="module")
def images():
    """Two visibly different sets of images of 64 px."""
    random = np.random.default_rng(0)
    first, second = draw_pictures(COUNT, 64, seed=1), draw_pictures(COUNT, 64, seed=2)
    return tuple(
        torch.from_numpy((pictures * 0.7 + random.integers(0, 70, pictures.shape)).astype(np.uint8)) for pictures in (first, second // 2)
    )


@pytest.fixture(scope="module")
def folders(images, tmp_path_factory):
    """The two sets as folders of PNG files."""
    return [str(save_pictures(tmp_path_factory.mktemp("pictures"), part.numpy())) for part in images]


@pytest.fixture(scope="module")
def features(weights, images):
    """facegan's features of both sets, by extractor name; cached."""
    return functools.cache(lambda name: [extract(open_extractor(name, weights, "cpu"), part.split(10)) for part in images])


def own_distance(sets):
    return scores.frechet_distance(*map(scores.fit_gaussian, sets))


def pytorch_fid_distance(sets):
    return fid_score.calculate_frechet_distance(*(moment for part in sets for moment in (part.mean(0), np.cov(part, rowvar=False))))


def assert_agree(ours, theirs, distance):
    """Compares all features, and the distance over some features with the one computed by the other tool."""
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-4)
    ours, theirs = [part[:, :SLICE] for part in ours], [part[:, :SLICE] for part in theirs]
    assert own_distance(ours) == pytest.approx(distance(theirs), rel=1e-4)


def test_all_scores_match_torch_fidelity(weights, features, folders):
    asked = {"fid": True, "kid": True, "isc": True, "kid_subsets": 10, "kid_subset_size": 8, "isc_splits": 2, "samples_shuffle": False}
    local = {"cuda": False, "save_cpu_ram": True, "cache": False, "verbose": False, "feature_extractor_weights_path": str(weights)}
    theirs = calculate_metrics(input1=folders[0], input2=folders[1], **asked, **local)
    first, second = features("inception")
    assert own_distance((first, second)) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    kernel, _ = scores.kernel_distance_over_subsets(first, second, subsets=10, size=8, seed=2020)
    assert kernel == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)  # torch-fidelity computes in single precision
    classifier = open_extractor("inception", weights, "cpu").classifier
    assert scores.inception_score(first @ classifier.T, splits=2)[0] == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


def test_pytorch_resizing_matches_clean_fid(hub, features, folders):
    model = build_feature_extractor("legacy_pytorch", torch.device("cpu"), use_dataparallel=False)
    theirs = clean_features(folders, model, "legacy_pytorch")
    assert_agree(features("inception_pytorch"), theirs, lambda parts: clean_fid.fid_from_feats(*parts))


def test_clean_resizing_matches_clean_fid(hub, features, folders):
    network = InceptionV3([3], resize_input=False, normalize_input=False).eval()  # clean-fid normalises as the 2015 graph does
    theirs = clean_features(folders, lambda batch: network((batch - 128) / 128)[0].flatten(1), "clean")
    assert_agree(features("inception_clean"), theirs, lambda parts: clean_fid.fid_from_feats(*parts))


def clean_features(folders, model, mode):
    device = torch.device("cpu")
    return [
        clean_fid.get_folder_features(folder, model, num_workers=0, batch_size=COUNT, device=device, mode=mode, verbose=False)
        for folder in folders
    ]


def test_folders_of_images_match_pytorch_fid(hub, weights, tmp_path):
    extractor = open_extractor("inception_pytorch", weights, "cpu")
    theirs, ours = [], []
    for name, pictures in (("first", draw_pictures(20, 64, seed=1)), ("second", draw_pictures(20, 64, seed=2) // 2)):
        files = sorted(save_pictures(tmp_path / name, pictures).iterdir())
        theirs.append(fid_score.get_activations(files, InceptionV3([3]), 20, num_workers=0)[shuffle(len(files))])
        ours.append(extract_pictures(tmp_path / name, "--pictures", extractor))
    own = [pictures.features for pictures in ours]
    assert_agree(own, theirs, pytorch_fid_distance)
    report = score_pictures(*ours, extractor, seed=0)
    assert report["generated"][f"fd_{extractor.space}"] == pytest.approx(own_distance(own), rel=1e-8)
