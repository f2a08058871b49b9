"""Untrusted files of weights: no code in them is executed, they cannot exhaust the memory, and every problem is reported."""

import dataclasses
import http.server
import threading
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from facegan.common.errors import FaceganError
from facegan.common.files import hash_file
from facegan.scoring.extractor_weights import LARGEST_BYTES, PublishedWeights, find_weights, read_weights
from facegan.scoring.extractors import EXTRACTORS, open_extractor

REMEDY = "set evaluate.weights"
UNPUBLISHED = PublishedWeights("0" * 64)
LITE = EXTRACTORS["efficientnet_lite0"].published


class Marking(torch.nn.Module):
    """A TorchScript module whose ``__setstate__`` writes a file."""

    def __init__(self, mark: str):
        super().__init__()
        self.mark = mark
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, pictures):
        return pictures * self.weight

    @torch.jit.export
    def __getstate__(self):
        return (self.mark, self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]):
        self.mark, self.weight, self.training = state
        torch.save(state[1], state[0])


@pytest.fixture
def marking(tmp_path):
    """The path of a TorchScript archive, and the path of the file that it writes when opened."""
    archive, mark = tmp_path / "marking.pt", tmp_path / "mark"
    torch.jit.script(Marking(str(mark))).save(archive)
    torch.jit.load(archive)
    mark.unlink()  # fails unless the archive has written it
    return archive, mark


@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors", "bin"])
def test_untrusted_torchscript_never_runs(marking, suffix):
    archive, mark = marking
    file = archive.rename(archive.with_suffix(f".{suffix}"))
    for name in EXTRACTORS:
        with pytest.raises(FaceganError, match=r"expected weights in .* set evaluate\.weights"):
            open_extractor(name, file, "cpu")
    assert not mark.exists()


def test_torchscript_with_a_hidden_zip_directory_never_runs(marking):
    archive, mark = marking
    content = bytearray(archive.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end : end + 4] = b"PK\x05\x07"  # Python's zipfile does not find the directory
    archive.write_bytes(content)
    with pytest.raises(FaceganError, match="expected weights in"):
        read_weights(archive, UNPUBLISHED, REMEDY)
    assert not mark.exists()


def test_published_torchscript_is_read(marking):
    archive, _ = marking
    state, digest = read_weights(archive, PublishedWeights(hash_file(archive)), REMEDY)
    assert digest == hash_file(archive)
    assert torch.equal(state["weight"], torch.ones(2))


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


@pytest.mark.parametrize("zipped", [True, False])
def test_untrusted_pickle_never_runs(tmp_path, capsys, zipped):
    torch.save({"weight": Evil()}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(FaceganError, match="expected weights in"):
        open_extractor("efficientnet_lite0", tmp_path / "evil.pth", "cpu")
    assert "this must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pth", "legacy", "safetensors"])
def test_damaged_weights_are_rejected_or_read(tmp_path, kind):
    """A file truncated anywhere, or with any byte inverted, gives one line of error, or (if the byte is one of a weight) is read."""
    state = {"first.weight": torch.arange(24.0).reshape(4, 6), "second.bias": torch.ones(3)}
    file = tmp_path / f"intact.{kind}"
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "pth")
    content = file.read_bytes()
    step = max(1, len(content) // 60)
    variants = [content[:end] for end in range(0, len(content), step)]
    variants += [content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :] for place in range(0, len(content), step)]
    rejected = 0
    for number, variant in enumerate(variants):
        damaged = tmp_path / f"{number}.{kind}"
        damaged.write_bytes(variant)
        try:
            read_weights(damaged, UNPUBLISHED, REMEDY)
        except FaceganError as error:
            rejected += 1
            text = str(error)
            assert text.startswith(f"expected weights in {damaged}; found ") and text.endswith(REMEDY) and "\n" not in text
    assert rejected >= len(variants) // 2


def test_weights_larger_than_their_archive_are_rejected(tmp_path):
    """PyTorch would decompress a storage to a thousand times the size of the file."""
    torch.save({"weight": torch.zeros(1_000_000)}, tmp_path / "full.pth")
    with zipfile.ZipFile(tmp_path / "full.pth") as full, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in full.infolist():
            bomb.writestr(member.filename, full.read(member))
    assert torch.load(tmp_path / "bomb.pth", weights_only=True)["weight"].shape == (1_000_000,)
    with pytest.raises(FaceganError, match="members larger than the archive"):
        read_weights(tmp_path / "bomb.pth", UNPUBLISHED, REMEDY)


def test_too_large_a_file_is_not_read(tmp_path):
    with (tmp_path / "sparse.pth").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(FaceganError, match=r"at most 2,147,483,648 bytes"):
        read_weights(tmp_path / "sparse.pth", UNPUBLISHED, REMEDY)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"weight": 1.0}, {1: torch.zeros(2)}, {"weight": torch.tensor([float("nan")])}])
def test_content_other_than_finite_tensors_is_rejected(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(FaceganError, match=r"not a dictionary of tensors|weight contains NaN"):
        read_weights(tmp_path / "other.pth", UNPUBLISHED, REMEDY)


@pytest.mark.parametrize("name", ["", "missing.pth"])
def test_missing_file_is_reported(tmp_path, name):
    with pytest.raises(FaceganError, match=r"found no file; set evaluate\.weights"):
        open_extractor("inception", tmp_path / name, "cpu")


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file and counts the requests."""

    body, requests = b"", 0

    def do_GET(self):
        type(self).requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments):
        pass


def test_weights_are_downloaded_once_and_verified(tmp_path, monkeypatch):
    Server.body, Server.requests = find_weights("efficientnet_lite0", LITE).read_bytes(), 0
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/lite.pth"
        for name, published in (("fetched", PublishedWeights(LITE.sha256, url)), ("forged", PublishedWeights("0" * 64, url + "x"))):
            monkeypatch.setitem(EXTRACTORS, name, dataclasses.replace(EXTRACTORS["efficientnet_lite0"], published=published))
        assert [open_extractor("fetched", device="cpu").space for _ in range(2)] == ["fetched"] * 2
        assert Server.requests == 1
        with pytest.raises(FaceganError, match="expected to download the weights of forged"):
            open_extractor("forged", device="cpu")
        server.shutdown()
    assert [path.name for path in (tmp_path / "hub/checkpoints").iterdir()] == ["lite.pth"]


def test_failed_download_names_an_alternative(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # an unused port
    with pytest.raises(FaceganError, match=r"evaluate\.extractor=efficientnet_lite0"):
        open_extractor("inception", device="cpu")


@pytest.mark.parametrize("content", [b"not Inception", None])
def test_cached_file_with_other_content_is_rejected(tmp_path, monkeypatch, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    file.parent.mkdir(parents=True)
    torch.save({"weight": torch.zeros(2)}, file)
    if content:
        file.write_bytes(content)
    with pytest.raises(FaceganError, match=r"expected .*weights .* delete that file"):
        open_extractor("inception", device="cpu")
