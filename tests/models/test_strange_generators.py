"""Arbitrary content of a generator file is read, or rejected in one line; a valid card is read unchanged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_generators import SMALL, make_card, save_small_generator
from strange_values import NUMBERS, TEXTS, VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.models.generator_file import load_generator, read_card, write_card

MODELS = st.sampled_from(
    [*({"model": name, "arguments": arguments, "resolution": resolution} for name, (resolution, arguments) in SMALL.items())]
)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A good file's header and its weights."""
    path = tmp_path_factory.mktemp("generator") / "generator.safetensors"
    save_small_generator(path)
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def check(path, header: bytes, weights: bytes):
    """Fails unless the file is read or told in a line."""
    path.write_bytes(len(header).to_bytes(8, "little") + header + weights)
    try:
        load_generator(path)
    except FaceganError as error:
        assert str(error).isprintable() and len(str(error)) < 3000


@examples(100)
@given(data=st.data())
def test_a_strange_card_is_read_or_told(tmp_path, parts, data):
    header, weights = parts
    good = json.loads(header["__metadata__"]["card"]) | data.draw(st.just({}) | MODELS)
    card = data.draw(spoil(good, VALUES | st.sampled_from([4, 8, 1024, 16_384, 0.5, *SMALL])))
    text = data.draw(st.just(json.dumps(card)) | TEXTS)
    check(tmp_path / "generator.safetensors", json.dumps(header | {"__metadata__": {"card": text}}).encode(), weights)


@examples(100)
@given(data=st.data())
def test_a_strange_header_is_read_or_told(tmp_path, parts, data):
    header, weights = parts
    strange = data.draw(spoil(header, VALUES | st.sampled_from(["F16", "F64", "I64", "BF16", "C64", [0, 0], [2**40], [2**62, 8]])))
    check(tmp_path / "generator.safetensors", json.dumps(strange).encode(), weights)


@examples(60)
@given(st.binary(max_size=64), st.floats(0, 1), st.booleans())
def test_foreign_bytes_in_a_file_are_read_or_told(tmp_path, parts, foreign, where, cut):
    header, weights = parts
    content = json.dumps(header).encode() + weights
    content = len(json.dumps(header).encode()).to_bytes(8, "little") + content
    place = int(where**4 * len(content))  # most of them near the beginning
    path = tmp_path / "generator.safetensors"
    path.write_bytes(content[:place] + foreign + (b"" if cut else content[place + len(foreign) :]))
    try:
        load_generator(path)
    except FaceganError as error:
        assert str(error).isprintable() and len(str(error)) < 3000


@examples(60)
@given(MODELS, st.integers(0, 10**12), TEXTS.filter(str.isprintable), NUMBERS.map(str))
def test_a_card_is_read_as_it_was_written(tmp_path, model, images_seen, data, parameters):
    card = make_card(images_seen).model_copy(update=model | {"data_fingerprint": data, "parameters_fingerprint": parameters})
    assert read_card(tmp_path, write_card(card)) == card
