"""Our Inception scores are those of pytorch-fid, clean-fid and torch-fidelity, unmodified, on the same images and weights.

The weights are random: what is compared is the whole way from a PNG file to its features, and from there to a number. Where the others
would take the root of a 2048×2048 matrix product for half a minute, the distance is taken over a few of the features;
``benchmarks/agreement.py`` takes it over all.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid import fid as clean_fid
from cleanfid.features import build_feature_extractor
from projects import draw_pictures
from pytorch_fid import fid_score
from pytorch_fid.inception import InceptionV3
from torch_fidelity import calculate_metrics
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_kid import kid_features_to_metric

from benchmarks.random_inception import save_random_inception
from facegan.common.pictures import save_png
from facegan.scoring import distances as scores
from facegan.scoring.extractors import EXTRACTORS, extract, open_extractor
from facegan.scoring.picture_scores import extract_pictures, score_pictures
from facegan.scoring.reference import shuffle
from facegan.scoring.scores import compare

COUNT = 10
SLICE = 6  # fewer than images, so that the others' covariances are not singular
HUB_NAME = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """PyTorch's download cache with random weights where pytorch-fid and clean-fid look for theirs."""
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
    """Two sets that differ visibly, 64 px."""
    random = np.random.default_rng(0)
    first, second = draw_pictures(COUNT, 64, seed=1), draw_pictures(COUNT, 64, seed=2)
    return tuple(
        torch.from_numpy((pictures * 0.7 + random.integers(0, 70, pictures.shape)).astype(np.uint8)) for pictures in (first, second // 2)
    )


@pytest.fixture(scope="module")
def folders(images, tmp_path_factory):
    """The same two sets as folders of PNG files."""
    result = []
    for name, pictures in zip(("first", "second"), images, strict=True):
        result.append(tmp_path_factory.mktemp(name))
        for number, picture in enumerate(pictures):
            save_png(result[-1] / f"{number:03d}.png", picture.permute(1, 2, 0).numpy())
    return [str(folder) for folder in result]


@pytest.fixture(scope="module")
def look(weights, images):
    """Our features of both sets, by extractor, each computed once."""
    return functools.cache(lambda name: [extract(open_extractor(name, weights, "cpu"), part.split(10)) for part in images])


def own_distance(features):
    return scores.frechet_distance(*(scores.fit_gaussian(part) for part in features))


def moments(features):
    return [moment for part in features for moment in (part.mean(0), np.cov(part, rowvar=False))]


def assert_agree(ours, theirs, distance):
    """Every feature of every image, and the distance over some, by ours and by their mathematics."""
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-4)
    ours, theirs = [part[:, :SLICE] for part in ours], [part[:, :SLICE] for part in theirs]
    assert own_distance(ours) == pytest.approx(distance(theirs), rel=1e-4)


def test_everything_is_that_of_torch_fidelity(weights, look, folders):
    theirs = calculate_metrics(
        input1=folders[0],
        input2=folders[1],
        cuda=False,
        fid=True,
        kid=True,
        isc=True,
        kid_subsets=10,
        kid_subset_size=8,
        feature_extractor_weights_path=str(weights),
        samples_shuffle=False,
        isc_splits=2,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    first, second = look("inception")
    assert own_distance((first, second)) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    kernel, _ = scores.kernel_distance_over_subsets(first, second, subsets=10, size=8, seed=2020)
    assert kernel == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)  # theirs is rounded to single precision
    classifier = open_extractor("inception", weights, "cpu").classifier
    assert scores.inception_score(first @ classifier.T, splits=2)[0] == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


def test_features_and_kernel_distance_are_those_of_torch_fidelity_in_double_precision(weights, images, look):
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(weights))
    theirs = [network(part)[0] for part in images]
    for own, other in zip(look("inception"), theirs, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-5)
    expected = kid_features_to_metric(*(part.double() for part in theirs), kid_subsets=10, kid_subset_size=8, rng_seed=2020, verbose=False)
    kernel, _ = scores.kernel_distance_over_subsets(*look("inception"), subsets=10, size=8, seed=2020)
    assert kernel == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)


def test_legacy_pytorch_resizing_is_that_of_pytorch_fid(hub, look, folders):
    model = InceptionV3([3])
    theirs = [fid_score.get_activations(sorted(Path(folder).glob("*.png")), model, COUNT, num_workers=0) for folder in folders]
    assert_agree(look("inception_pytorch"), theirs, lambda parts: fid_score.calculate_frechet_distance(*moments(parts)))


def test_legacy_pytorch_resizing_is_that_of_clean_fid(hub, look, folders):
    model = build_feature_extractor("legacy_pytorch", torch.device("cpu"), use_dataparallel=False)
    theirs = clean_features(folders, model, "legacy_pytorch")
    assert_agree(look("inception_pytorch"), theirs, lambda parts: clean_fid.fid_from_feats(*parts))


def test_clean_resizing_is_that_of_clean_fid(hub, look, folders):
    network = InceptionV3([3], resize_input=False, normalize_input=False).eval()  # clean-fid normalises as the 2015 graph does
    theirs = clean_features(folders, lambda batch: network((batch - 128) / 128)[0].flatten(1), "clean")
    assert_agree(look("inception_clean"), theirs, lambda parts: clean_fid.fid_from_feats(*parts))


def clean_features(folders, model, mode):
    device = torch.device("cpu")
    return [
        clean_fid.get_folder_features(folder, model, num_workers=0, batch_size=COUNT, device=device, mode=mode, verbose=False)
        for folder in folders
    ]


def test_folders_of_pictures_are_scored_as_by_pytorch_fid(hub, weights, tmp_path):
    """Every feature of every PNG, and the distance over some of them."""
    extractor = open_extractor("inception_pytorch", weights, "cpu")
    theirs, ours = [], []
    for name, pictures in (("first", draw_pictures(20, 64, seed=1)), ("second", draw_pictures(20, 64, seed=2) // 2)):
        for number, picture in enumerate(pictures):
            save_png(tmp_path / name / f"{number:03d}.png", picture.transpose(1, 2, 0))
        theirs.append(
            fid_score.get_activations(sorted((tmp_path / name).glob("*.png")), InceptionV3([3]), 20, num_workers=0)[shuffle(len(pictures))]
        )
        ours.append(extract_pictures(tmp_path / name, "--pictures", extractor))
    assert_agree([pictures.features for pictures in ours], theirs, lambda parts: fid_score.calculate_frechet_distance(*moments(parts)))
    report = score_pictures(*ours, extractor, seed=0)
    assert report["generated"][f"fd_{extractor.space}"] == pytest.approx(own_distance([pictures.features for pictures in ours]), rel=1e-8)


def test_ways_of_resizing_have_names_of_their_own(look):
    """Their distances differ, so they may not be mixed."""
    names = [name for name in EXTRACTORS if name.startswith("inception")]
    assert len({round(own_distance(look(name)), 6) for name in names}) == len(names) == 3


def test_random_weights_are_never_called_fid(weights, look):
    extractor = open_extractor("inception", weights, "cpu")
    report = compare(*look("inception"), extractor.space, extractor.classifier)
    assert extractor.space == f"inception_{extractor.weights_sha256[:8]}"
    assert not {"fid", "kid"} & set(report)
    assert f"fd_{extractor.space}" in report
