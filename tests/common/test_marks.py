"""Marks in picture files: written into every format, read back by a second parser, and not trusted."""

import io

import numpy as np
import pytest
from marked_pictures import read_source_type, read_xmp
from PIL import Image

from facegan.common.marks import Mark, parse_xmp, read_mark, save_marked

MARK = Mark("ab12", 'dcgan <32> & "more"', "grid", ("3-12-0.7", "3-13-0.7"), {"hair": "bleu–vert", "Smiling": 1})
FORMATS = ("PNG", "WEBP", "JPEG", "GIF")


def write(format: str, mark: Mark | None = MARK, frames: int = 1) -> bytes:
    images = [Image.fromarray(np.full((16, 16, 3), 40 * number, np.uint8)) for number in range(1, frames + 1)]
    file = io.BytesIO()
    save_marked(file, images[0], format, mark, **({"save_all": True, "append_images": images[1:]} if frames > 1 else {}))
    return file.getvalue()


@pytest.mark.parametrize("format", FORMATS)
def test_mark_is_read_back_by_another_parser(format, tmp_path):
    content = write(format)
    assert read_xmp(content) == {
        "DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "generator": "ab12",
        "model": 'dcgan <32> & "more"',
        "content": "grid",
        "faces": "3-12-0.7 3-13-0.7",
        "labels": '{"Smiling": 1, "hair": "bleu\\u2013vert"}',
    }
    (tmp_path / "picture").write_bytes(content)
    assert read_mark(tmp_path / "picture") == MARK and write(format) == content


@pytest.mark.parametrize("format", ["WEBP", "GIF"])
def test_animations_are_marked_and_still_animations(format, tmp_path):
    (tmp_path / "walk").write_bytes(write(format, frames=3))
    assert read_mark(tmp_path / "walk") == MARK
    with Image.open(tmp_path / "walk") as image:
        image.seek(2)
        assert image.n_frames == 3 and abs(np.asarray(image.convert("RGB"), int) - 120).max() < 4


@pytest.mark.parametrize("format", FORMATS)
def test_photo_has_no_mark_and_a_composite_its_own(format, tmp_path):
    (tmp_path / "photo").write_bytes(write(format, None))
    assert read_mark(tmp_path / "photo") is None and read_xmp(write(format, None)) == {}
    assert read_source_type(write(format, MARK.replace("", composite=True))) == "compositeWithTrainedAlgorithmicMedia"


def test_packet_that_an_editor_rewrote_with_elements_is_read():
    packet = b"""<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
        <rdf:Description rdf:about='' xmlns:i='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'>
        <i:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</i:DigitalSourceType></rdf:Description>
        <rdf:Description rdf:about='' xmlns:f='urn:facegan:mark#'><f:faces>7-1-1</f:faces></rdf:Description></rdf:RDF></x:xmpmeta>\0"""
    assert parse_xmp(packet) == Mark(faces=("7-1-1",))


PHOTO = MARK.write_xmp().replace("trainedAlgorithmicMedia", "digitalCapture").encode()
ENTITY = b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"


@pytest.mark.parametrize("packet", [b"", b"\xff\xfe", b"<x:xmpmeta", ENTITY, b"<a/>" + b" " * 1_000_001, PHOTO])
def test_other_metadata_are_no_mark(packet):
    assert parse_xmp(packet) is None


@pytest.mark.parametrize("labels", ["[1", "3", '"text"'])
def test_invalid_labels_are_ignored(labels):
    packet = Mark(content="face", labels={"a": 1}).write_xmp().replace('{"a": 1}', labels.replace('"', "&quot;"))
    assert parse_xmp(packet.encode()) == Mark(content="face")
