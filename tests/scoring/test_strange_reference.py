"""Whatever stands in data/reference: it is a reference, or the project says in a line what is wrong; and one is read as it was written."""

import dataclasses
import hashlib
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strange_values import VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.scoring.protocol import RealProtocol
from facegan.scoring.reference import Reference, read_reference, write_reference


def make_reference(train=24, holdout=5, features=3, real=20, **floor):
    """Returns a reference of random features."""
    protocol = RealProtocol(
        data="d" * 64,
        resolution=32,
        crop=(1, 2, 33, 34),
        filter="box",
        split="train",
        real=real,
        extractor="corners",
        weights_sha256="0" * 64,
        resize="none",
    )
    parts = {"train": torch.randn(train, features), "holdout": torch.randn(holdout, features)}
    rows = {f"{name}_rows": torch.randperm(len(part)) for name, part in parts.items()}
    return Reference(**parts, **rows, protocol=protocol, floor={"images": 20, **floor})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, make_reference(fd_corners=1.5))
    return folder


@pytest.fixture(scope="module")
def parts(folder):
    """A good reference.json; the features' header, and what comes behind it."""
    content = (folder / "features.safetensors").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads((folder / "reference.json").read_text()), json.loads(content[8:end]), content[end:]


def check(folder, about, features: bytes):
    """Fails unless the reference is read or told in a line."""
    (folder / "features.safetensors").write_bytes(features)
    (folder / "reference.json").write_text(json.dumps(about))
    try:
        reference = read_reference(folder)
        assert len(reference.real) == reference.protocol.real and reference.train.shape[1] == reference.holdout.shape[1]
    except FaceganError as error:
        assert str(error).isprintable() and len(str(error)) < 3000


def pack(header, rest):
    """Returns a safetensors file's bytes."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


@examples(80)
@given(data=st.data())
def test_a_strange_reference_is_read_or_told(folder, parts, data):
    about, header, rest = parts
    check(folder, data.draw(spoil(about, VALUES | st.sampled_from([[1, 2, 3, 4], 19, 20, 24, 25]))), pack(header, rest))


@examples(100)
@given(data=st.data())
def test_strange_features_with_the_right_hash_are_read_or_told(folder, parts, data):
    about, header, rest = parts
    numbers = data.draw(st.just(rest) | st.sampled_from([b"\xff", b"\x7f\x80"]).map(lambda byte: (byte * len(rest))[: len(rest)]))
    features = pack(
        data.draw(spoil(header, VALUES | st.sampled_from(["F16", "F64", "I64", "I32", [24], [3, 24], [12, 6], [0, 3], [24, 3, 1]]))),
        numbers,
    )
    check(folder, about | {"features_sha256": hashlib.sha256(features).hexdigest()}, features)


@examples(30)
@given(st.integers(20, 30), st.integers(0, 4), st.integers(1, 4), st.floats(allow_nan=False))
def test_a_reference_is_read_as_it_was_written(tmp_path, train, holdout, features, score):
    written = make_reference(train, holdout, features, fd_corners=score)
    write_reference(tmp_path, written)
    read = read_reference(tmp_path)
    for field in dataclasses.fields(written):
        before, after = getattr(written, field.name), getattr(read, field.name)
        assert torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after


@pytest.mark.parametrize("name", ["features.safetensors", "reference.json"])
@pytest.mark.parametrize("damage", ["torn", "empty", "flipped", "another's", "gone"])
def test_a_damaged_reference_is_told(tmp_path, name, damage):
    write_reference(tmp_path / "other", make_reference())
    write_reference(tmp_path / "reference", make_reference())
    path = tmp_path / "reference" / name
    content = path.read_bytes()
    match damage:
        case "torn":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "flipped":
            path.write_bytes(content.replace(b'"', b"\xa2", 1))
        case "another's":
            path.write_bytes((tmp_path / "other" / name).read_bytes())
        case "gone":
            path.unlink()
    with pytest.raises(FaceganError, match=r"run stages/reference\.py|mend that, and run the same command"):
        read_reference(tmp_path / "reference")
