"""Extractors: weights from files of every kind, names that follow from hashes, and the same numbers as their originals."""

import dataclasses
import http.server
import threading

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from projects import draw_pictures
from safetensors.torch import save_file
from torch_fidelity.feature_extractor_clip import CLIPVisual, FeatureExtractorCLIP

from facegan.common.errors import FaceganError
from facegan.scoring.dinov2 import DINOv2, build_dinov2
from facegan.scoring.extractors import EXTRACTORS, extract, find_weights, hash_file, open_extractor, prepare_efficientnet, read_weights


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(draw_pictures(6, 32))


@pytest.fixture(scope="module")
def lite():
    return open_extractor("efficientnet_lite0", device="cpu")


class SmallCLIP(torch.nn.Module):
    """A CLIP of two narrow layers, with as much of the text side as its loader asks for."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.visual = CLIPVisual(16, 32, 2, 64, 8).visual
        self.text_projection = torch.nn.Parameter(torch.zeros(4, 16))

    def forward(self, pictures):
        return self.visual(pictures) @ self.text_projection.T


def small_dinov2():
    torch.manual_seed(0)
    network = DINOv2(width=64, depth=2, grid=5)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    return network


def test_efficientnet_sees_what_its_unfolded_network_sees(lite, images):
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(read_weights(find_weights("efficientnet_lite0")))
    with torch.inference_mode():
        expected = network.eval().extract_features(prepare_efficientnet(images.float())).mean((2, 3))
    assert (lite(images) - expected).abs().max() < 1e-4
    assert lite(images).shape == (6, 1280)


def test_published_weights_carry_the_plain_name(lite):
    assert lite.space == "efficientnet_lite0"
    assert lite.weights_sha256 == EXTRACTORS["efficientnet_lite0"].sha256


def test_other_weights_carry_their_hash_in_the_name(tmp_path, images, lite):
    state = read_weights(find_weights("efficientnet_lite0"))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "same.safetensors")
    copy = open_extractor("efficientnet_lite0", tmp_path / "same.safetensors", "cpu")
    assert copy.space == f"efficientnet_lite0_{hash_file(tmp_path / 'same.safetensors')[:8]}"
    assert torch.equal(copy(images), lite(images))


def test_features_come_in_order_and_do_not_depend_on_their_fellows(lite, images):
    whole = lite(images)
    streamed = extract(lite, iter(images.split(4)))
    assert (streamed - whole).abs().max() < 1e-5
    assert torch.equal(extract(lite, images.split(4)), streamed)


def test_colours_and_sizes_matter(lite, images):
    assert (lite(images.flip(1)) - lite(images)).abs().max() > 0.1
    assert lite(torch.zeros(1, 3, 300, 300, dtype=torch.uint8)).shape == (1, 1280)


def test_dinov2_takes_local_weights(tmp_path, images):
    network = small_dinov2()
    torch.save(network.state_dict(), tmp_path / "dino.pth")
    extractor = open_extractor("dinov2_vits14", tmp_path / "dino.pth", "cpu")
    features = extractor(images)
    assert features.shape == (6, 64)
    assert features.isfinite().all() and features.std() > 0.1
    assert extractor.space.startswith("dinov2_vits14_")


def test_dinov2_knows_width_depth_and_grid_from_the_weights():
    rebuilt = build_dinov2(small_dinov2().state_dict())
    pictures = torch.randn(2, 3, 70, 70, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(rebuilt(pictures), small_dinov2()(pictures))
        assert rebuilt.place(5, 5) is rebuilt.pos_embed
        assert rebuilt.place(16, 16).shape == (1, 257, 64)


def test_dinov2_at_its_published_size_has_the_published_parameters():
    with torch.device("meta"):
        network = DINOv2(width=384, depth=12, grid=37)
    assert sum(parameter.numel() for parameter in network.parameters()) == 22_056_576


@pytest.mark.parametrize("kind", ["torchscript", "pth", "safetensors"])
def test_clip_is_that_of_torch_fidelity_from_any_kind_of_file(tmp_path, images, kind):
    network = SmallCLIP().eval()
    script = tmp_path / "clip.pt"
    torch.jit.trace(network, torch.zeros(1, 3, 32, 32)).save(script)
    theirs = FeatureExtractorCLIP("clip-vit-b-32", ["clip"], str(script))(images)[0]
    file = tmp_path / f"weights.{kind}"
    {
        "torchscript": lambda: file.write_bytes(script.read_bytes()),
        "pth": lambda: torch.save(network.state_dict(), file),
        "safetensors": lambda: save_file(network.state_dict(), file),
    }[kind]()
    np.testing.assert_allclose(open_extractor("clip_vitb32", file, "cpu")(images), theirs, rtol=1e-5, atol=1e-6)


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_from_outside_is_never_run(tmp_path, capsys):
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(FaceganError, match="expected weights in"):
        open_extractor("efficientnet_lite0", tmp_path / "evil.pth", "cpu")
    assert "this must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["inception", "efficientnet_lite0", "dinov2_vits14", "clip_vitb32"])
def test_weights_of_another_network_are_refused(tmp_path, name):
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(FaceganError, match=f"expected the weights of {name}"):
        open_extractor(name, tmp_path / "other.pth", "cpu")


def test_a_missing_file_and_an_unknown_name_say_what_to_do(tmp_path):
    with pytest.raises(FaceganError, match=r"found none .* set evaluate.weights"):
        open_extractor("inception", tmp_path / "none.pth", "cpu")
    with pytest.raises(FaceganError, match="expected an extractor among inception"):
        open_extractor("resnet", device="cpu")


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file and counts how often it was asked for."""

    body, asked = b"", 0

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments):
        pass


def test_weights_are_fetched_once_and_checked(tmp_path, monkeypatch):
    Server.body, Server.asked = find_weights("efficientnet_lite0").read_bytes(), 0
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/lite.pth"
        monkeypatch.setitem(EXTRACTORS, "fetched", dataclasses.replace(EXTRACTORS["efficientnet_lite0"], url=url))
        monkeypatch.setitem(EXTRACTORS, "forged", dataclasses.replace(EXTRACTORS["fetched"], url=url + "x", sha256="0" * 64))
        assert [open_extractor("fetched", device="cpu").space for _ in range(2)] == ["fetched"] * 2
        assert Server.asked == 1
        with pytest.raises(FaceganError, match="expected to fetch the weights of forged"):
            open_extractor("forged", device="cpu")
        server.shutdown()
    assert [path.name for path in (tmp_path / "hub/checkpoints").iterdir()] == ["lite.pth"]


def test_weights_that_cannot_be_fetched_name_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(FaceganError, match=r"evaluate\.extractor=efficientnet_lite0"):
        open_extractor("inception", device="cpu")


def test_a_cached_file_with_other_bytes_is_not_taken_for_the_published_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not Inception")
    with pytest.raises(FaceganError, match="expected the published weights of inception"):
        open_extractor("inception", device="cpu")
