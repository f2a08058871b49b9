"""Arbitrary content of a generator file is read, or rejected in one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_generators import SMALL, save_small_generator
from strange_values import TEXTS, VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.models.generator_file import load_generator

MODELS = st.sampled_from([{"model": name, "arguments": arguments, "resolution": size} for name, (size, arguments) in SMALL.items()])


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A good file's header and its weights."""
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_small_generator(path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def is_read_or_rejected(path, content: bytes) -> bool:
    """Returns whether reading a file of these bytes works or gives an error of one line."""
    path.write_bytes(content)
    try:
        load_generator(path)
    except FaceganError as error:
        return str(error).isprintable() and len(str(error)) < 3000
    return True


def pack(header: dict, weights: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + weights


@examples(100)
@given(data=st.data())
def test_a_strange_card_is_read_or_rejected(tmp_path, parts, data):
    header, weights = parts
    good = json.loads(header["__metadata__"]["card"]) | data.draw(st.just({}) | MODELS)
    card = data.draw(spoil(good, VALUES | st.sampled_from([4, 8, 1024, 16_384, 0.5, *SMALL])))
    text = data.draw(st.just(json.dumps(card)) | TEXTS)
    assert is_read_or_rejected(tmp_path / "generator.safetensors", pack(header | {"__metadata__": {"card": text}}, weights))


@examples(100)
@given(data=st.data())
def test_a_strange_header_is_read_or_rejected(tmp_path, parts, data):
    header, weights = parts
    strange = data.draw(spoil(header, VALUES | st.sampled_from(["F16", "F64", "I64", "BF16", "C64", [0, 0], [2**40], [2**62, 8]])))
    assert is_read_or_rejected(tmp_path / "generator.safetensors", pack(strange, weights))


@examples(60)
@given(st.binary(max_size=64), st.floats(0, 1), st.booleans())
def test_other_bytes_are_read_or_rejected(tmp_path, parts, other, where, cut):
    content = pack(*parts)
    place = int(where**4 * len(content))  # most of them near the beginning
    damaged = content[:place] + other + (b"" if cut else content[place + len(other) :])
    assert is_read_or_rejected(tmp_path / "generator.safetensors", damaged)
