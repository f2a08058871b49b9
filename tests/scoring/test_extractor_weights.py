"""Files of weights from anywhere: nothing in them runs, nothing in them exhausts the memory, and every fault is told in a line."""

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
NONE_PUBLISHED = PublishedWeights("0" * 64)
LITE = EXTRACTORS["efficientnet_lite0"].published


class Marking(torch.nn.Module):
    """A TorchScript module that writes a file beside it as soon as it is opened, by its own ``__setstate__``."""

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
        self.mark = state[0]
        self.weight = state[1]
        self.training = state[2]
        torch.save(state[1], state[0])


@pytest.fixture
def marking(tmp_path):
    """A TorchScript archive that leaves a mark, and where it leaves it."""
    mark = tmp_path / "mark"
    torch.jit.script(Marking(str(mark))).save(tmp_path / "marking.pt")
    mark.unlink(missing_ok=True)
    return tmp_path / "marking.pt", mark


def test_the_archive_of_these_tests_does_leave_a_mark(marking):
    archive, mark = marking
    torch.jit.load(archive)
    assert mark.exists()


@pytest.mark.parametrize("suffix", ["pt", "pth", "safetensors", "bin"])
def test_foreign_torchscript_never_runs(marking, suffix):
    archive, mark = marking
    file = archive.rename(archive.with_suffix(f".{suffix}"))
    for name in EXTRACTORS:
        with pytest.raises(FaceganError, match=r"expected weights in .* set evaluate\.weights"):
            open_extractor(name, file, "cpu")
    assert not mark.exists()


def test_a_torchscript_archive_that_zipfile_takes_for_another_never_runs(marking):
    archive, mark = marking
    content = bytearray(archive.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    content[end : end + 4] = b"PK\x05\x07"  # no end of a zip's directory that Python would find
    archive.write_bytes(content)
    with pytest.raises(FaceganError, match="expected weights in"):
        read_weights(archive, NONE_PUBLISHED, REMEDY)
    assert not mark.exists()


def test_published_torchscript_is_read(marking):
    archive, _ = marking
    state, digest = read_weights(archive, PublishedWeights(hash_file(archive)), REMEDY)
    assert digest == hash_file(archive)
    assert torch.equal(state["weight"], torch.ones(2))


class Evil:
    def __reduce__(self):
        return (print, ("this must not run",))


def test_a_pickle_from_outside_never_runs(tmp_path, capsys):
    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    torch.save({"weight": Evil()}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("evil.pth", "legacy.pth"):
        with pytest.raises(FaceganError, match="expected weights in"):
            open_extractor("efficientnet_lite0", tmp_path / name, "cpu")
    assert "this must not run" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pth", "legacy", "safetensors"])
def test_files_torn_or_altered_anywhere_are_refused_in_a_line_or_read(tmp_path, kind):
    state = {"first.weight": torch.arange(24.0).reshape(4, 6), "second.bias": torch.ones(3)}
    file = tmp_path / f"whole.{kind}"
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "pth")
    content = file.read_bytes()
    step = max(1, len(content) // 60)
    variants = [content[:end] for end in range(0, len(content), step)]
    variants += [content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :] for place in range(0, len(content), step)]
    refused = 0
    for number, variant in enumerate(variants):
        torn = tmp_path / f"{number}.{kind}"
        torn.write_bytes(variant)
        try:
            read_weights(torn, NONE_PUBLISHED, REMEDY)
        except FaceganError as error:
            refused += 1
            assert str(error).startswith(f"expected weights in {torn}; found ") and str(error).endswith(REMEDY) and "\n" not in str(error)
    assert refused >= len(variants) // 2


def test_what_unpacks_to_more_than_itself_is_refused(tmp_path):
    """PyTorch would unpack a compressed storage, a thousand times the file's size."""
    torch.save({"weight": torch.zeros(1_000_000)}, tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole, zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb:
        for member in whole.infolist():
            bomb.writestr(member.filename, whole.read(member))
    assert torch.load(tmp_path / "bomb.pth", weights_only=True)["weight"].shape == (1_000_000,)
    with pytest.raises(FaceganError, match="members larger than the archive"):
        read_weights(tmp_path / "bomb.pth", NONE_PUBLISHED, REMEDY)


def test_a_file_of_any_size_is_not_read(tmp_path):
    with (tmp_path / "sparse.pth").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)
    with pytest.raises(FaceganError, match=r"at most 2,147,483,648 bytes .* found 2,147,483,649"):
        read_weights(tmp_path / "sparse.pth", NONE_PUBLISHED, REMEDY)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"weight": 1.0}, {1: torch.zeros(2)}, {"weight": torch.tensor([float("nan")])}])
def test_what_is_no_dictionary_of_finite_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(FaceganError, match=r"not a dictionary of tensors|weight holds NaN"):
        read_weights(tmp_path / "other.pth", NONE_PUBLISHED, REMEDY)


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_no_file_says_so(tmp_path, make):
    make(tmp_path / "none.pth")
    with pytest.raises(FaceganError, match=r"found no file; set evaluate\.weights"):
        open_extractor("inception", tmp_path / "none.pth", "cpu")


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
    Server.body, Server.asked = find_weights("efficientnet_lite0", LITE).read_bytes(), 0
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/lite.pth"
        for name, published in (("fetched", PublishedWeights(LITE.sha256, url)), ("forged", PublishedWeights("0" * 64, url + "x"))):
            monkeypatch.setitem(EXTRACTORS, name, dataclasses.replace(EXTRACTORS["efficientnet_lite0"], published=published))
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


@pytest.mark.parametrize("content", [b"not Inception", None])
def test_a_cached_file_with_other_bytes_is_not_taken_for_the_published_weights(tmp_path, monkeypatch, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    file.parent.mkdir(parents=True)
    if content:
        file.write_bytes(content)
    else:
        torch.save({"weight": torch.zeros(2)}, file)
    with pytest.raises(FaceganError, match=r"expected .*weights .* delete that file"):
        open_extractor("inception", device="cpu")
