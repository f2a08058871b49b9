"""Images to features: the networks by which two sets of pictures are compared.

In: uint8 images (B, 3, H, W), RGB, of any size. Out: float32 features (B, D). Each extractor resizes and normalises in its
own way, which belongs to its name: features from two ways of resizing may not be compared.

Weights come from a local file or, where none is given, from where they were published; the file's SHA-256 decides the name of the
feature space, so that scores over other weights never carry the name of the published ones.
"""

import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from facegan.common.devices import find_device, reproducible
from facegan.common.errors import FaceganError, printable
from facegan.scoring import extractor_networks as networks
from facegan.scoring.extractor_networks import TransformerSize
from facegan.scoring.extractor_weights import PublishedWeights, State, find_weights, read_weights

FRECHET_NAMES = {"inception": "fid", "inception_pytorch": "fid_pytorch", "inception_clean": "fid_clean"}
KERNEL_NAMES = {"inception": "kid", "inception_pytorch": "kid_pytorch", "inception_clean": "kid_clean"}
BATCH = {"cpu": 16, "cuda": 128}  # on a CPU small batches stay in the cache: 16 are twice as fast as 64


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A network that is ready to look at pictures.

    Attributes:
        space: the feature space's name, for scores: the extractor's, and the hash's first digits when the weights are not
            the published ones.
        weights_sha256: the hash of the weights' file.
        resize: how pictures are brought to the network's size, in words.
        network: uint8 images (B, 3, H, W) to features (B, D).
        classifier: (classes, D), features to logits; only Inception has one.
    """

    space: str
    weights_sha256: str
    resize: str
    network: nn.Module
    device: torch.device
    classifier: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Returns the features (B, D) of uint8 images (B, 3, H, W), in float32, on the extractor's device."""
        with reproducible():
            return self.network(images.to(self.device))


@dataclasses.dataclass(frozen=True)
class ExtractorSpec:
    """How one extractor is made.

    Attributes:
        build: weights to a network and its classifier, if it has one.
        resize: see ``Extractor``.
        published: the weights that give the extractor its name.
    """

    build: Callable[[State], tuple[nn.Module, Tensor | None]]
    resize: str
    published: PublishedWeights


def open_extractor(name: str, weights: Path | None = None, device: torch.device | str | None = None) -> Extractor:
    """Returns the extractor of that name.

    Args:
        weights: a file, as evaluate.weights names it; None: the published ones.
        device: where it looks; None: on the CUDA GPU where there is one. On Apple's, which lack the scores' float64, it is the CPU.

    Raises:
        FaceganError: an unknown name, a package that is missing, weights that cannot be had or read, or that belong to another network.
    """
    if name not in EXTRACTORS:
        raise FaceganError(f"expected an extractor among {', '.join(EXTRACTORS)}; found {name!r}; take one of these")
    spec = EXTRACTORS[name]
    device = torch.device(device or find_device())
    device = device if device.type in BATCH else torch.device("cpu")
    try:
        path = find_weights(name, spec.published) if weights is None else Path(weights)
        remedy = spec.published.remedy if weights is None else f"set evaluate.weights to a file of {name}'s, or to null"
        state, digest = read_weights(path, spec.published, remedy)
        if weights is None and digest != spec.published.sha256:
            raise FaceganError(f"expected the published weights of {name} in {path}; found other bytes; {remedy}")
        network, classifier = spec.build(state)
    except ModuleNotFoundError as error:
        raise FaceganError(
            f"expected the packages of the extractor {name}; found no {error.name}; pip install -r requirements.txt"
        ) from None
    except (RuntimeError, LookupError, ValueError) as error:
        reason = printable(" ".join(str(error).split())[:200])
        raise FaceganError(f"expected the weights of {name} in {path}; found others ({reason}); {remedy}") from None
    space = name if digest == spec.published.sha256 else f"{name}_{digest[:8]}"
    classifier = None if classifier is None else classifier.to(device)
    return Extractor(space, digest, spec.resize, network.to(device), device, classifier)


def extract(extractor: Extractor, batches: Iterable[Tensor]) -> Tensor:
    """Returns the features (N, D) of a stream of uint8 batches, in order. Only one batch of images is in memory at a time."""
    return torch.cat([extractor(batch) for batch in batches])


def name_frechet(space: str) -> str:
    """Returns what the Fréchet distance over that feature space is called: ``fid`` over the published Inception alone."""
    return FRECHET_NAMES.get(space, f"fd_{space}")


def name_kernel(space: str) -> str:
    """Returns what the kernel distance over that feature space is called: ``kid`` over the published Inception alone."""
    return KERNEL_NAMES.get(space, f"kd_{space}")


def specify_inception(prepare: networks.Preparation, resize: str) -> ExtractorSpec:
    """Returns the extractor over the FID's own weights, as torch-fidelity converted them, with one way of resizing."""
    url = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    published = PublishedWeights("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2", url)
    return ExtractorSpec(partial(networks.build_inception, prepare=prepare), resize, published)


def specify_dinov2(name: str, sha256: str, width: int, depth: int) -> ExtractorSpec:
    """Returns the extractor over one of Meta's weights."""
    size = TransformerSize(patch=14, width=width, depth=depth, features=width)
    published = PublishedWeights(sha256, f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth")
    return ExtractorSpec(partial(networks.build_dinov2, size=size), "TensorFlow 1 bilinear to 224", published)


def specify_clip(file: str, sha256: str, size: TransformerSize) -> ExtractorSpec:
    """Returns the extractor over one of OpenAI's weights."""
    published = PublishedWeights(sha256, f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}.pt")
    return ExtractorSpec(partial(networks.build_clip, size=size), "TensorFlow 1 bilinear to 224", published)


LITE = PublishedWeights("579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db")
DINOV2_S = "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"
DINOV2_B = "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"
DINOV2_L = "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"
CLIP_B32 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
CLIP_B16 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
CLIP_L14 = "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"

EXTRACTORS = {
    "inception": specify_inception(networks.prepare_inception, "TensorFlow 1 bilinear to 299"),
    "inception_pytorch": specify_inception(networks.prepare_inception_pytorch, "PyTorch bilinear to 299"),
    "inception_clean": specify_inception(networks.prepare_inception_clean, "Pillow bicubic to 299"),
    "efficientnet_lite0": ExtractorSpec(networks.build_efficientnet, "antialiased bilinear to 224", LITE),
    "dinov2_vits14": specify_dinov2("dinov2_vits14", DINOV2_S, width=384, depth=12),
    "dinov2_vitb14": specify_dinov2("dinov2_vitb14", DINOV2_B, width=768, depth=12),
    "dinov2_vitl14": specify_dinov2("dinov2_vitl14", DINOV2_L, width=1024, depth=24),
    "clip_vitb32": specify_clip("ViT-B-32", CLIP_B32, TransformerSize(patch=32, width=768, depth=12, features=512)),
    "clip_vitb16": specify_clip("ViT-B-16", CLIP_B16, TransformerSize(patch=16, width=768, depth=12, features=512)),
    "clip_vitl14": specify_clip("ViT-L-14", CLIP_L14, TransformerSize(patch=14, width=1024, depth=24, features=768)),
}
