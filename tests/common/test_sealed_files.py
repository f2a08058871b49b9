"""JSON files that later stages read: any change of their content is detected."""

import json
import random

import pydantic
import pytest

from facegan.common.errors import FaceganError
from facegan.common.files import read_sealed_json, read_sealed_values, write_sealed_json


class Content(pydantic.BaseModel):
    """A file's content."""

    floor: dict[str, float]
    name: str


VALUES = {"floor": {"images": 20.0, "fd_efficientnet_lite0": 115.25}, "name": "größe \udcff"}


@pytest.fixture
def path(tmp_path):
    write_sealed_json(tmp_path / "file.json", VALUES)
    return tmp_path / "file.json"


def test_content_is_read_as_written(path):
    assert read_sealed_values(path, "run it again") == VALUES
    write_sealed_json(path, VALUES | {"name": "größe"})
    assert read_sealed_json(path, Content, "run it again") == Content(**VALUES | {"name": "größe"})


def test_no_cut_or_flipped_bit_changes_what_is_read(path):
    content, numbers = path.read_bytes(), random.Random(0)
    for place in range(len(content)):
        flipped = bytes([content[place] ^ 1 << numbers.randrange(8)])
        for damaged in (content[:place], content[:place] + flipped + content[place + 1 :]):
            path.write_bytes(damaged)
            try:
                assert read_sealed_values(path, "run it again") == VALUES
            except FaceganError as error:
                assert str(error).isprintable()


@pytest.mark.parametrize("content", ["", "[]", "7", "{}", "[" * 100_000, "9" * 5000, json.dumps(VALUES)])
def test_other_files_are_rejected(path, content):
    path.write_text(content)
    with pytest.raises(FaceganError, match="found other content"):
        read_sealed_values(path, "run it again")
