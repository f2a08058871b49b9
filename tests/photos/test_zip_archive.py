"""Members of a zip, read in place, against Python's own zipfile."""

import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from facegan.common.errors import FaceganError
from facegan.photos.zip_archive import ZipStore

CONTENTS = {
    "b/empty.jpg": b"",
    "a/one.jpg": b"1",
    "ä/größe 例.png": bytes(range(256)) * 20,
    "list.csv": b"image_id,partition\n" * 1000,
    "a.jpg": np.random.default_rng(0).bytes(70_000),
}


def make_zip(path: Path, compression: int = zipfile.ZIP_DEFLATED, mode: str = "w") -> Path:
    with zipfile.ZipFile(path, mode, compression) as archive:
        archive.mkdir("b")
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    return path


def assert_whole(store: ZipStore) -> None:
    assert store.names == sorted(CONTENTS)
    assert dict(zip(CONTENTS, store.read_all(CONTENTS), strict=True)) == CONTENTS


def read(store: ZipStore, name: str) -> bytes:
    [content] = store.read_all([name])
    return content


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_read_as_they_were_written(tmp_path, compression):
    assert_whole(ZipStore(make_zip(tmp_path / "a.zip", compression)))


def test_a_zip_that_was_streamed_or_follows_other_bytes(tmp_path):
    appended = tmp_path / "appended.zip"
    appended.write_bytes(b"#!/bin/sh a self-extracting archive begins like this\n" * 100)
    assert_whole(ZipStore(make_zip(appended, mode="a")))
    with (tmp_path / "streamed.zip").open("wb") as file, zipfile.ZipFile(Unseekable(file), "w") as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    assert_whole(ZipStore(tmp_path / "streamed.zip"))


class Unseekable:
    """A file that can only be written on: a zip then tells sizes after the members."""

    def __init__(self, file):
        self.write, self.flush = file.write, file.flush


def test_members_with_64_bit_headers(tmp_path):
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENTS.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert_whole(ZipStore(path))


def test_members_behind_four_gigabytes(tmp_path):
    path = tmp_path / "far.zip"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)  # a hole: it takes no room on the disk
    store = ZipStore(make_zip(path, mode="a"))
    assert_whole(store)
    assert store.members["offset"].min() > 2**32


def test_more_members_than_16_bits_count(tmp_path):
    path = tmp_path / "many.zip"
    names = [f"{number:05d}.jpg" for number in range(70_000)]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    store = ZipStore(path)
    assert store.names == names
    assert list(store.read_all(names[-2:])) == [b"69998.jpg", b"69999.jpg"]


def test_names_from_before_unicode(tmp_path):
    path = tmp_path / "dos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gr__e.jpg", b"1")
    path.write_bytes(path.read_bytes().replace(b"gr__e", b"gr\x94\xe1e"))  # ö and ß in code page 437
    assert dict(zip(["größe.jpg"], ZipStore(path).read_all(["größe.jpg"]), strict=True)) == {"größe.jpg": b"1"}


def test_comments_and_the_traces_of_other_tools(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"c" * 65_535
        for name, content in CONTENTS.items():
            member = zipfile.ZipInfo(name)
            member.extra = struct.pack("<2H5s", 0x5455, 5, b"\x01time")  # when the file was changed, as Info-ZIP tells it
            member.comment = b"a face"
            archive.writestr(member, content)
    assert_whole(ZipStore(path))


def test_of_two_members_of_one_name_the_later_counts(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.jpg", b"the newer")
    assert read(ZipStore(path), "a.jpg") == b"the newer"
    assert ZipStore(path).names == sorted(CONTENTS)


def test_some_members_travel_alone(tmp_path):
    store = ZipStore(make_zip(tmp_path / "a.zip"))
    part = store.select(["list.csv", "a/one.jpg"])
    assert part.names == ["a/one.jpg", "list.csv"] and part.members.nbytes == 64
    there = pickle.loads(pickle.dumps(part))
    assert list(there.read_all(["list.csv", "a/one.jpg"])) == [CONTENTS["list.csv"], b"1"]
    with pytest.raises(FaceganError, match=r"expected a\.jpg in .*a\.zip; found no such member"):
        read(part, "a.jpg")


def find_header(path: Path, name: str) -> int:
    with zipfile.ZipFile(path) as archive:
        return archive.getinfo(name).header_offset


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_is_told_and_costs_one_member(tmp_path, compression):
    path = make_zip(tmp_path / "a.zip", compression)
    content = bytearray(path.read_bytes())
    content[find_header(path, "list.csv") + 30 + len("list.csv") + 5] ^= 0xFF
    path.write_bytes(content)
    store = ZipStore(path)
    with pytest.raises(FaceganError, match=r"expected list\.csv in .*a\.zip to be whole; found damage"):
        read(store, "list.csv")
    assert read(store, "a.jpg") == CONTENTS["a.jpg"]


def test_what_cannot_be_read_is_told(tmp_path):
    exotic = make_zip(tmp_path / "exotic.zip", zipfile.ZIP_LZMA)
    with pytest.raises(FaceganError, match=r"found it compressed by lzma"):
        read(ZipStore(exotic), "a.jpg")
    locked = make_zip(tmp_path / "locked.zip")
    content = bytearray(locked.read_bytes())
    directory = content.index(b"PK\x01\x02")
    while content[directory : directory + 4] == b"PK\x01\x02":
        content[directory + 8] |= 1
        directory += 46 + sum(struct.unpack_from("<3H", content, directory + 28))
    locked.write_bytes(content)
    with pytest.raises(FaceganError, match="found it encrypted"):
        read(ZipStore(locked), "a.jpg")


def test_a_missing_file_and_a_foreign_one_are_told(tmp_path):
    with pytest.raises(FaceganError, match=r"expected a zip archive in .*none\.zip; found no such file"):
        ZipStore(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(FaceganError, match=r"expected a zip archive in .*text\.zip; found something else"):
        ZipStore(tmp_path / "text.zip")
    whole = make_zip(tmp_path / "whole.zip").read_bytes()
    for number, damaged in enumerate([b"", whole[:-30], whole[100:], whole.replace(b"PK\x01\x02", b"PK\x01\x00", 1)]):
        path = tmp_path / f"damaged{number}.zip"
        path.write_bytes(damaged)
        with pytest.raises(FaceganError, match=r"found something else \(.*\); give a whole zip file"):
            ZipStore(path)
    path = make_zip(tmp_path / "gone.zip")
    store = ZipStore(path)
    path.unlink()
    with pytest.raises(FaceganError, match=r"expected a zip archive in .*gone\.zip; found no such file"):
        read(store, "a.jpg")
