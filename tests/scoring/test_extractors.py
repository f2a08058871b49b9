"""Extractors: the same features as the original implementations, and names determined by the weights' hashes."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from projects import draw_pictures
from references import open_lite
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_clip import CLIPVisual, FeatureExtractorCLIP

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file
from facegan.scoring.extractor_networks import TransformerSize, build_clip, build_efficientnet
from facegan.scoring.extractor_weights import find_weights, read_weights
from facegan.scoring.extractors import EXTRACTORS, extract, open_extractor


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(draw_pictures(6, 32))


@pytest.fixture(scope="module")
def lite_state():
    published = EXTRACTORS["efficientnet_lite0"].published
    return read_weights(find_weights("efficientnet_lite0", published), published, "")[0]


class SmallCLIP(torch.nn.Module):
    """A CLIP with two narrow layers, and the part of the text encoder that torch-fidelity's loader requires."""

    size = TransformerSize(patch=8, width=64, depth=2, features=16, picture=32)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.visual = CLIPVisual(16, 32, 2, 64, 8).visual
        self.text_projection = torch.nn.Parameter(torch.zeros(4, 16))

    def forward(self, pictures):
        return self.visual(pictures) @ self.text_projection.T


def draw_dinov2(width, depth):
    """Returns random weights with the names and shapes of the published DINOv2."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 1 + 37 * 37, width), "mask_token": (1, width)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 14, 14), "patch_embed.proj.bias": (width,)}
    for block in (f"blocks.{number}" for number in range(depth)):
        for layer, outputs, inputs in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes |= {f"{block}.{layer}.weight": (outputs * width, inputs * width), f"{block}.{layer}.bias": (outputs * width,)}
        for layer in ("norm1", "norm2"):
            shapes |= {f"{block}.{layer}.weight": (width,), f"{block}.{layer}.bias": (width,)}
        shapes |= {f"{block}.{layer}.gamma": (width,) for layer in ("ls1", "ls2")}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    random = np.random.default_rng(0)
    ones = ("norm1.weight", "norm2.weight", "norm.weight", "gamma")
    values = {name: random.standard_normal(shape, dtype=np.float32) * 0.05 + name.endswith(ones) for name, shape in shapes.items()}
    return {name: torch.from_numpy(value).float() for name, value in values.items()}


def project_in_double(extractor):
    """Returns four random projections (2, 4) of the features of a drawn image and of noise, in double precision."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    pictures = torch.from_numpy(np.concatenate([draw_pictures(1, 32), noise]))
    network = extractor.network.double()
    with torch.inference_mode():
        features = network.body(network.prepare(pictures.double())).numpy()
    directions = np.random.default_rng(1).standard_normal((features.shape[1], 4)) / features.shape[1] ** 0.5
    return features @ directions


def test_efficientnet_matches_its_first_implementation():
    """Recorded from efficientnet_lite_pytorch 0.1.0, by the authors of the weights; the features have a standard deviation of 0.44."""
    expected = [[-0.381478578, -0.6144235119, -1.0085429811, 0.768350564], [0.5403507148, 0.5036686866, -0.3712648191, 0.1613503214]]
    np.testing.assert_allclose(project_in_double(open_extractor("efficientnet_lite0", device="cpu")), expected, rtol=0, atol=4e-6)


def test_dinov2_matches_the_published_code(tmp_path):
    """Recorded from a transformer that follows Meta's code, including the position grid; the features have a standard deviation of 1.0."""
    expected = [[0.1128024535, 0.4617695233, 0.6848248758, 0.7022116305], [-0.3290932523, 0.7115834953, 0.0459534521, 0.6345027161]]
    torch.save(draw_dinov2(384, 12), tmp_path / "dinov2.pth")
    extractor = open_extractor("dinov2_vits14", tmp_path / "dinov2.pth", "cpu")
    assert sum(parameter.numel() for parameter in extractor.network.parameters()) == 22_056_576 - 384 - (37 * 37 - 16 * 16) * 384
    np.testing.assert_allclose(project_in_double(extractor), expected, rtol=0, atol=1e-5)
    assert extractor.space.startswith("dinov2_vits14_")


def test_clip_matches_torch_fidelity(tmp_path, images, monkeypatch):
    small = dataclasses.replace(EXTRACTORS["clip_vitb32"], build=partial(build_clip, size=SmallCLIP.size))
    monkeypatch.setitem(EXTRACTORS, "clip_small", small)
    network = SmallCLIP().eval()
    torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(tmp_path / "clip.pt")
    theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(tmp_path / "clip.pt"))(images)[0]
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    np.testing.assert_allclose(open_extractor("clip_small", tmp_path / "weights.pth", "cpu")(images), theirs, rtol=1e-5, atol=1e-6)


def test_folding_batch_norms_does_not_change_the_features(lite_state, images):
    assert not [module for module in open_lite().network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("facegan.scoring.extractor_networks.fold_batch_norms", lambda network: network)
        unfolded, _ = build_efficientnet(lite_state)
    assert len([module for module in unfolded.modules() if isinstance(module, torch.nn.BatchNorm2d)]) == 49
    with torch.inference_mode():
        assert (open_lite()(images) - unfolded(images)).abs().max() < 1e-4


def test_only_published_weights_have_the_plain_name(tmp_path, images, lite_state):
    assert open_lite().space == "efficientnet_lite0"
    assert open_lite().weights_sha256 == EXTRACTORS["efficientnet_lite0"].published.sha256
    save_file({name: tensor.contiguous() for name, tensor in lite_state.items()}, tmp_path / "same.safetensors")
    copy = open_extractor("efficientnet_lite0", tmp_path / "same.safetensors", "cpu")
    assert copy.space == f"efficientnet_lite0_{hash_file(tmp_path / 'same.safetensors')[:8]}"
    assert torch.equal(copy(images), open_lite()(images))


def test_features_do_not_depend_on_the_batch(images):
    complete = open_lite()(images)
    assert complete.shape == (6, 1280) and open_lite()(torch.zeros(1, 3, 300, 300, dtype=torch.uint8)).shape == (1, 1280)
    assert (extract(open_lite(), iter(images.split(4))) - complete).abs().max() < 1e-5


def test_unknown_extractor_is_reported():
    with pytest.raises(FaceganError, match="expected an extractor among inception"):
        open_extractor("resnet", device="cpu")


@pytest.mark.parametrize("name", ["inception", "efficientnet_lite0", "dinov2_vits14", "clip_vitb32"])
def test_weights_of_another_network_are_rejected(tmp_path, name):
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(FaceganError, match=rf"expected the weights of {name} .* set evaluate\.weights"):
        open_extractor(name, tmp_path / "other.pth", "cpu")


def test_network_size_does_not_follow_the_file(tmp_path):
    """Otherwise a few bytes could request all of the memory."""
    for name, tensors in (("dinov2_vits14", draw_dinov2(64, 2)), ("clip_vitb32", SmallCLIP().state_dict())):
        torch.save(tensors, tmp_path / "small.pth")
        with pytest.raises(FaceganError, match=f"expected the weights of {name}"):
            open_extractor(name, tmp_path / "small.pth", "cpu")
