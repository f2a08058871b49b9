"""Files in data/reference: anything but a valid reference is reported in one line; a reference is read as written."""

import dataclasses
import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strange_values import VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.common.files import write_sealed_json
from facegan.scoring.protocol import RealProtocol
from facegan.scoring.reference import Reference, read_reference, write_reference


def make_reference(train=24, holdout=5, features=3, real=20, **floor):
    """Returns a reference with random features."""
    protocol = RealProtocol("d" * 64, 32, (1, 2, 33, 34), "box", "train", real, "corners", "0" * 64, "none")
    parts = {"train": torch.randn(train, features), "holdout": torch.randn(holdout, features)}
    rows = {f"{name}_rows": torch.randperm(len(part)) for name, part in parts.items()}
    parts |= {f"{name}_structure": torch.randn(len(part), 2) for name, part in parts.items()}
    return Reference(**parts, **rows, components=torch.randn(2, 768).double(), protocol=protocol, floor={"images": 20, **floor})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, make_reference(fd_corners=1.5))
    return folder


@pytest.fixture(scope="module")
def parts(folder):
    """A valid reference.json, the features' header, and the rest of their file."""
    content = (folder / "features.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads((folder / "reference.json").read_text()), json.loads(content[8:end]), content[end:]


def is_read_or_reported(folder, about, features: bytes) -> bool:
    """Returns whether reading these files gives a consistent reference or an error of one line."""
    (folder / "features.safetensors").write_bytes(features)
    about = about if isinstance(about, dict) else {"content": about}
    write_sealed_json(folder / "reference.json", {name: value for name, value in about.items() if name != "fingerprint"})
    try:
        reference = read_reference(folder)
    except FaceganError as error:
        return str(error).isprintable() and len(str(error)) < 3000
    consistent = len(reference.real.network) == len(reference.real.structure) == reference.protocol.real
    return consistent and reference.train.shape[1] == reference.holdout.shape[1]


def pack(header, rest):
    """Returns a safetensors file's bytes."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


@examples(80)
@given(data=st.data())
def test_invalid_reference_is_read_or_reported(folder, parts, data):
    about, header, rest = parts
    changed = data.draw(spoil(about, VALUES | st.sampled_from([[1, 2, 3, 4], 19, 20, 24, 25])))
    assert is_read_or_reported(folder, changed, pack(header, rest))


@pytest.mark.parametrize("name", ["data", "filter", "split", "extractor", "weights_sha256", "resize", "structure"])
def test_escape_codes_in_the_protocol_are_rejected(tmp_path, name):
    reference = make_reference()
    write_reference(tmp_path, dataclasses.replace(reference, protocol=dataclasses.replace(reference.protocol, **{name: "\x1b[2J"})))
    with pytest.raises(FaceganError, match="expected printable text"):
        read_reference(tmp_path)


@examples(100)
@given(data=st.data())
def test_invalid_features_with_the_right_hash_are_read_or_reported(folder, parts, data):
    about, header, rest = parts
    numbers = data.draw(st.just(rest) | st.sampled_from([b"\xff", b"\x7f\x80"]).map(lambda byte: (byte * len(rest))[: len(rest)]))
    values = VALUES | st.sampled_from(["F16", "F64", "I64", "I32", [24], [3, 24], [12, 6], [0, 3], [24, 3, 1]])
    features = pack(data.draw(spoil(header, values)), numbers)
    assert is_read_or_reported(folder, about | {"features_sha256": hashlib.sha256(features).hexdigest()}, features)


@examples(30)
@given(st.integers(20, 30), st.integers(0, 4), st.integers(1, 4), st.floats(allow_nan=False))
def test_reference_is_read_as_written(tmp_path, train, holdout, features, score):
    written = make_reference(train, holdout, features, fd_corners=score)
    write_reference(tmp_path, written)
    read = read_reference(tmp_path)
    for field in dataclasses.fields(written):
        before, after = getattr(written, field.name), getattr(read, field.name)
        assert torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after


@pytest.mark.parametrize("name", ["features.safetensors", "reference.json"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "changed", "another's", "missing"])
def test_damaged_reference_is_reported(tmp_path, name, damage):
    write_reference(tmp_path / "other", make_reference())
    write_reference(tmp_path / "reference", make_reference())
    path = tmp_path / "reference" / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        damaged = {"truncated": content[: len(content) // 2], "empty": b"", "changed": content.replace(b'"', b"\xa2", 1)}
        path.write_bytes({**damaged, "another's": (tmp_path / "other" / name).read_bytes()}[damage])
    with pytest.raises(FaceganError, match=r"^expected .*reference.*; found"):
        read_reference(tmp_path / "reference")
