"""Extractors: networks that turn images into features, in which two sets of images are compared.

Input: uint8 images (B, 3, H, W), RGB, of any size. Output: float32 features (B, D). Each extractor resizes and normalises in its own
way, which is part of its name: features from different resizing methods are not comparable.

Weights come from a local file, or else from where they were published. The file's SHA-256 determines the name of the feature space, so
scores over other weights never have the name of the published ones.
"""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from facegan.common.devices import find_device, keep_freed_memory, reproducible
from facegan.common.errors import FaceganError, printable
from facegan.common.progress import Progress
from facegan.scoring import extractor_networks as networks
from facegan.scoring.extractor_networks import TransformerSize
from facegan.scoring.extractor_weights import PublishedWeights, State, find_weights, read_weights

# The suffix of the names ``fid`` and ``kid``, which are reserved for the published Inception weights, by resizing method
FID_SUFFIXES = {"inception": "", "inception_pytorch": "_pytorch", "inception_clean": "_clean"}
BATCH = {"cpu": 16, "cuda": 128}  # a batch of 16 fits in a CPU's cache: twice as fast as 64


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network with its weights loaded.

    Attributes:
        space: the name of the feature space, for scores: the extractor's name, followed by the first digits of the hash unless the
            weights are the published ones.
        weights_sha256: the hash of the weights file.
        resize: a description of how images are resized to the network's input size.
        network: uint8 images (B, 3, H, W) to features (B, D).
        classifier: (classes, D), features to logits; only for Inception.
    """

    space: str
    weights_sha256: str
    resize: str
    network: nn.Module
    device: torch.device
    classifier: Tensor | None = None

    @property
    def protocol(self) -> dict[str, str]:
        """The extractor's part of ``facegan.scoring.protocol.RealProtocol``."""
        return {"extractor": self.space, "weights_sha256": self.weights_sha256, "resize": self.resize}

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Returns the features (B, D) of uint8 images (B, 3, H, W), in float32, on the extractor's device."""
        with reproducible():
            return self.network(images.to(self.device))


@dataclasses.dataclass(frozen=True)
class ExtractorSpec:
    """How to build an extractor.

    Attributes:
        build: weights to a network and, if it has one, its classifier.
        resize: see ``Extractor``.
        published: the weights that the extractor's name stands for.
    """

    build: Callable[[State], tuple[nn.Module, Tensor | None]]
    resize: str
    published: PublishedWeights


def open_extractor(name: str, weights: Path | None = None, device: torch.device | str | None = None) -> Extractor:
    """Returns an extractor by its name in ``EXTRACTORS``.

    Args:
        weights: a local file, as in evaluate.weights; None: the published weights.
        device: None: a CUDA GPU if available. The CPU replaces Apple GPUs, which lack the float64 that scores need.

    Raises:
        FaceganError: an unknown name, a missing package, or weights that cannot be found, read, or loaded into this network.
    """
    if name not in EXTRACTORS:
        raise FaceganError(f"expected an extractor among {', '.join(EXTRACTORS)}; found {name!r}; choose one of these")
    spec = EXTRACTORS[name]
    device = torch.device(device or find_device())
    device = device if device.type in BATCH else torch.device("cpu")
    try:
        path = find_weights(name, spec.published) if weights is None else Path(weights)
        remedy = spec.published.remedy if weights is None else f"set evaluate.weights to a file with the weights of {name}, or to null"
        state, digest = read_weights(path, spec.published, remedy)
        if weights is None and digest != spec.published.sha256:
            raise FaceganError(f"expected the published weights of {name} in {path}; found a file with another hash; {remedy}")
        network, classifier = spec.build(state)
    except ModuleNotFoundError as error:
        raise FaceganError(f"expected the packages of {name}; found no {error.name}; run pip install -r requirements.txt") from None
    except (RuntimeError, LookupError, ValueError) as error:
        reason = printable(" ".join(str(error).split())[:200])
        raise FaceganError(f"expected the weights of {name} in {path}; found others ({reason}); {remedy}") from None
    keep_freed_memory()
    space = name if digest == spec.published.sha256 else f"{name}_{digest[:8]}"
    classifier = None if classifier is None else classifier.to(device)
    return Extractor(space, digest, spec.resize, network.to(device), device, classifier)


def extract(extractor: Extractor, batches: Iterable[Tensor], title: str = "", count: int = 0) -> Tensor:
    """Returns the features (N, D) of a stream of uint8 batches, in order. Only one batch of images is in memory at a time.

    Args:
        title, count: a description and the number of the images, to show the progress; no title: show none.
    """
    features = []
    with Progress(title, count, "images", quiet=not title) as progress:
        for batch in batches:
            features.append(extractor(batch))
            progress.add(len(batch))
    return torch.cat(features)


def name_frechet(space: str) -> str:
    """Returns the name of the Fréchet distance in a feature space: ``fid`` with the published Inception weights, else ``fd_…``."""
    return f"fid{FID_SUFFIXES[space]}" if space in FID_SUFFIXES else f"fd_{space}"


def name_kernel(space: str) -> str:
    """Returns the name of the kernel distance in a feature space: ``kid`` with the published Inception weights, else ``kd_…``."""
    return f"kid{FID_SUFFIXES[space]}" if space in FID_SUFFIXES else f"kd_{space}"


def specify_inception(prepare: networks.Preparation, resize: str) -> ExtractorSpec:
    """Returns an extractor over the FID weights as converted by torch-fidelity, with one resizing method."""
    url = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    published = PublishedWeights("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2", url)
    return ExtractorSpec(partial(networks.build_inception, prepare=prepare), resize, published)


def specify_dinov2(name: str, sha256: str, width: int, depth: int) -> ExtractorSpec:
    """Returns an extractor over weights published by Meta."""
    size = TransformerSize(patch=14, width=width, depth=depth, features=width)
    published = PublishedWeights(sha256, f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth")
    return ExtractorSpec(partial(networks.build_dinov2, size=size), "TensorFlow 1 bilinear to 224", published)


def specify_clip(name: str, sha256: str, patch: int, width: int, depth: int, features: int) -> ExtractorSpec:
    """Returns an extractor over weights published by OpenAI."""
    published = PublishedWeights(sha256, f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}.pt")
    build = partial(networks.build_clip, size=TransformerSize(patch, width, depth, features))
    return ExtractorSpec(build, "TensorFlow 1 bilinear to 224", published)


LITE = PublishedWeights("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")

# One entry per name in ``facegan.scoring.parameters.ExtractorName``; a test compares the two
EXTRACTORS = {
    "inception": specify_inception(networks.prepare_inception, "TensorFlow 1 bilinear to 299"),
    "inception_pytorch": specify_inception(networks.prepare_inception_pytorch, "PyTorch bilinear to 299"),
    "inception_clean": specify_inception(networks.prepare_inception_clean, "Pillow bicubic to 299"),
    "efficientnet_lite0": ExtractorSpec(networks.build_efficientnet, "antialiased bilinear to 224", LITE),
    "dinov2_vits14": specify_dinov2("dinov2_vits14", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", 384, 12),
    "dinov2_vitb14": specify_dinov2("dinov2_vitb14", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", 768, 12),
    "dinov2_vitl14": specify_dinov2("dinov2_vitl14", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", 1024, 24),
    "clip_vitb32": specify_clip("ViT-B-32", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", 32, 768, 12, 512),
    "clip_vitb16": specify_clip("ViT-B-16", "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", 16, 768, 12, 512),
    "clip_vitl14": specify_clip("ViT-L-14", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", 14, 1024, 24, 768),
}
