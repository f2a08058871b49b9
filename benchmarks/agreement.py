"""Compares facegan's scores with those of unmodified pytorch-fid, clean-fid and torch-fidelity, on the same images and weights.

    python benchmarks/agreement.py data/shards --images 200

The other tools read the images as PNG files. The Inception weights are random unless --weights names a file with the published ones;
all tools load the same weights. Differences are relative. The kernel distance is printed twice, because torch-fidelity computes it in
single precision; the second row passes it the same features in double precision.
"""

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.random_inception import save_random_inception  # noqa: E402 (the path above must come first)
from facegan.common.pictures import save_png  # noqa: E402
from facegan.scoring import distances as scores  # noqa: E402
from facegan.scoring.extractors import BATCH, Extractor, extract, open_extractor  # noqa: E402
from facegan.scoring.neighbourhoods import compare_neighbourhoods  # noqa: E402
from facegan.scoring.reference import gather  # noqa: E402

HUB_NAME = "pt_inception-2015-12-05-6726825d.pth"
SUBSETS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path, help="a folder of shards with at least twice as many training images")
    parser.add_argument("--images", type=int, default=200, help="images in each of the two sets")
    parser.add_argument("--weights", type=Path, help="a file of Inception weights (default: random weights)")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    images = gather(arguments.shards, "train", torch.arange(2 * arguments.images))
    images[arguments.images :] = (
        (images[arguments.images :] * 0.8).round().to(torch.uint8)
    )  # so that the distance is larger than sampling noise
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCH_HOME"] = folder
        weights = Path(folder) / "hub" / "checkpoints" / HUB_NAME
        weights.parent.mkdir(parents=True)
        if arguments.weights:
            weights.write_bytes(arguments.weights.read_bytes())
        else:
            save_random_inception(weights, seed=0)
        sets = images.split(arguments.images)
        folders = [str(Path(folder) / name) for name in ("first", "second")]
        for place, pictures in zip(folders, sets, strict=True):
            for number, picture in enumerate(pictures):
                save_png(Path(place) / f"{number:06d}.png", picture.permute(1, 2, 0).numpy())
        print(f"{arguments.images} images against {arguments.images}, {images.shape[-1]} px, PyTorch {torch.__version__}\n")
        print("| score | tool | tool's result | facegan | relative difference |\n|---|---|---|---|---|")
        compare_with_torch_fidelity(weights, folders, sets)
        compare_with_pytorch_resizing(weights, folders, sets)
        compare_with_clean_fid(weights, folders, sets)


def report(score: str, tool: str, theirs: float, ours: float) -> None:
    """Prints one row of the table."""
    print(f"| {score} | {tool} | {theirs:.9g} | {ours:.9g} | {abs(ours / theirs - 1):.1e} |", flush=True)


def look(name: str, weights: Path, sets: tuple[torch.Tensor, ...]) -> tuple[Extractor, list[torch.Tensor]]:
    """Returns facegan's extractor and its features of each set."""
    extractor = open_extractor(name, weights, "cpu")
    return extractor, [extract(extractor, images.split(BATCH["cpu"])) for images in sets]


def own_distance(features: list[torch.Tensor]) -> float:
    """Returns facegan's Fréchet distance."""
    return scores.frechet_distance(*(scores.fit_gaussian(part) for part in features))


def compare_with_torch_fidelity(weights: Path, folders: list[str], sets: tuple[torch.Tensor, ...]) -> None:
    """Compares Fréchet and kernel distance, Inception score, precision and recall."""
    from torch_fidelity import calculate_metrics
    from torch_fidelity.metric_kid import kid_features_to_metric

    size = len(sets[0]) // 2
    theirs = calculate_metrics(
        input1=folders[0],
        input2=folders[1],
        cuda=False,
        fid=True,
        kid=True,
        isc=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        kid_subsets=SUBSETS,
        kid_subset_size=size,
        samples_shuffle=False,
        cache=False,
        verbose=False,
    )
    extractor, (first, second) = look("inception", weights, sets)
    report("Fréchet distance", "torch-fidelity", theirs["frechet_inception_distance"], own_distance([first, second]))
    kernel, _ = scores.kernel_distance_over_subsets(first, second, SUBSETS, size, seed=2020)
    report("kernel distance", "torch-fidelity", theirs["kernel_inception_distance_mean"], kernel)
    double = kid_features_to_metric(
        first.double(), second.double(), kid_subsets=SUBSETS, kid_subset_size=size, rng_seed=2020, verbose=False
    )
    report("kernel distance", "torch-fidelity, float64", double["kernel_inception_distance_mean"], kernel)
    report("Inception score", "torch-fidelity", theirs["inception_score_mean"], scores.inception_score(first @ extractor.classifier.T)[0])
    own = compare_neighbourhoods(second, first)
    for name in ("precision", "recall"):
        report(name, "torch-fidelity", theirs[name], own[name].item())


def compare_with_pytorch_resizing(weights: Path, folders: list[str], sets: tuple[torch.Tensor, ...]) -> None:
    """Compares the distance with PyTorch's bilinear resizing: pytorch-fid, and clean-fid's mode ``legacy_pytorch``."""
    from cleanfid import fid as clean_fid
    from pytorch_fid.fid_score import calculate_fid_given_paths

    _, features = look("inception_pytorch", weights, sets)
    own = own_distance(features)
    report("Fréchet distance, PyTorch resizing", "pytorch-fid", calculate_fid_given_paths(folders, 50, "cpu", 2048, num_workers=0), own)
    theirs = clean_fid.compute_fid(
        *folders, mode="legacy_pytorch", num_workers=0, device=torch.device("cpu"), verbose=False, use_dataparallel=False
    )
    report("Fréchet distance, PyTorch resizing", "clean-fid, legacy_pytorch", theirs, own)


def compare_with_clean_fid(weights: Path, folders: list[str], sets: tuple[torch.Tensor, ...]) -> None:
    """Compares the distance with clean-fid's resizing and pytorch-fid's network, because clean-fid's own network must be downloaded."""
    from cleanfid import fid as clean_fid
    from pytorch_fid.inception import InceptionV3

    network = InceptionV3([3], resize_input=False, normalize_input=False).eval()
    theirs = clean_fid.compute_fid(
        *folders,
        mode="clean",
        num_workers=0,
        device=torch.device("cpu"),
        verbose=False,
        custom_feat_extractor=lambda batch: network((batch - 128) / 128)[0].flatten(1),
    )
    report("Fréchet distance, clean resizing", "clean-fid, clean", theirs, own_distance(look("inception_clean", weights, sets)[1]))


if __name__ == "__main__":
    main()
