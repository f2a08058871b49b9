"""Arbitrary content of index.json is read, or rejected in one line; a valid index is read unchanged."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from strange_values import VALUES, examples, spoil

from facegan.common.errors import FaceganError
from facegan.common.files import compute_fingerprint
from facegan.common.shards import SPLITS, Index, ShardWriter, open_split, read_index, read_labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write(folder, [("train", 3), ("holdout", 2)])
    return folder


@pytest.fixture(scope="module")
def good(folder):
    return json.loads((folder / "index.json").read_text())


def write(folder, pictures):
    """Fills the folder with plain pictures, as many of each split as told, and returns the index."""
    with ShardWriter(folder, 4, columns={"Smiling": ("0", "1")}) as writer:
        for split, count in pictures:
            for number in range(count):
                writer.add(split, np.full((3, 4, 4), number, np.uint8), [number % 2])
        return writer.finish(crop="none", filter="box", source_fingerprint="drawn")


def check(folder, content):
    """Fails unless the folder with this index is read or told in a line."""
    (folder / "index.json").write_text(json.dumps(content))
    try:
        for split in SPLITS:
            images = open_split(folder, split)
            assert sum(map(len, images)) == sum(map(len, read_labels(folder, split))) == getattr(read_index(folder), split)
    except FaceganError as error:
        assert str(error).isprintable() and len(str(error)) < 3000


@examples(80)
@given(data=st.data())
def test_a_strange_index_is_read_or_told(folder, good, data):
    check(folder, data.draw(spoil(good)))


@examples(150)
@given(data=st.data())
def test_a_strange_index_with_the_right_fingerprint_is_read_or_told(folder, good, data):
    content = data.draw(
        spoil(good, VALUES | st.sampled_from([[15, 8, 163, 200], "../other.safetensors", "train-00001.safetensors", 4, 3, 2]))
    )
    try:
        index = Index.model_validate_json(json.dumps(content))
    except ValidationError:
        return
    check(folder, content | {"fingerprint": index.compute_fingerprint()})


def test_escape_codes_in_the_index_are_rejected(folder, good):
    for name in ("filter", "crop", "source_fingerprint"):
        content = good | {name: "\x1b[2J"}
        content["fingerprint"] = compute_fingerprint({key: value for key, value in content.items() if key != "format"})
        (folder / "index.json").write_text(json.dumps(content))
        with pytest.raises(FaceganError, match="expected printable text"):
            read_index(folder)


@examples(30)
@given(st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 4)), max_size=4))
def test_an_index_is_read_as_it_was_written(tmp_path, pictures):
    index = write(tmp_path, pictures)
    assert read_index(tmp_path) == index
    for split in SPLITS:
        assert (
            sum(map(len, open_split(tmp_path, split))) == getattr(index, split) == sum(count for name, count in pictures if name == split)
        )
