"""Arbitrary content of index.json is read, or rejected in one line."""

import contextlib
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
    with ShardWriter(folder, 4, columns={"Smiling": ("0", "1")}) as writer:
        for number, split in enumerate(["train"] * 3 + ["holdout"] * 2):
            writer.add(split, np.full((3, 4, 4), number, np.uint8), [number % 2])
        writer.finish(crop="none", filter="box", source_fingerprint="drawn")
    return folder


@pytest.fixture(scope="module")
def good(folder):
    return json.loads((folder / "index.json").read_text())


def is_read_or_rejected(folder, content) -> bool:
    """Returns whether reading the folder with this index works or gives an error of one line."""
    (folder / "index.json").write_text(json.dumps(content))
    try:
        for split in SPLITS:
            images = open_split(folder, split)
            assert sum(map(len, images)) == sum(map(len, read_labels(folder, split))) == getattr(read_index(folder), split)
    except FaceganError as error:
        return str(error).isprintable() and len(str(error)) < 3000
    return True


@examples(150)
@given(data=st.data())
def test_a_strange_index_with_the_right_fingerprint_is_read_or_rejected(folder, good, data):
    values = VALUES | st.sampled_from([[15, 8, 163, 200], "../other.safetensors", "train-00001.safetensors", 4, 3, 2])
    content = data.draw(spoil(good, values))
    with contextlib.suppress(ValidationError):  # then no fingerprint is right
        content = content | {"fingerprint": Index.model_validate_json(json.dumps(content)).compute_fingerprint()}
    assert is_read_or_rejected(folder, content)


def test_escape_codes_in_the_index_are_rejected(folder, good):
    for name in ("filter", "crop", "source_fingerprint"):
        content = good | {name: "\x1b[2J"}
        content["fingerprint"] = compute_fingerprint({key: value for key, value in content.items() if key != "format"})
        (folder / "index.json").write_text(json.dumps(content))
        with pytest.raises(FaceganError, match="expected printable text"):
            read_index(folder)
