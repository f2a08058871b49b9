"""Members of zip archives in the variants that common tools write."""

import io
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
COMPRESSIONS = pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


def make_zip(path: Path, compression: int = zipfile.ZIP_DEFLATED, mode: str = "w") -> Path:
    with zipfile.ZipFile(path, mode, compression) as archive:
        archive.mkdir("b")
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    return path


def assert_complete(store: ZipStore) -> None:
    assert store.names == sorted(CONTENTS)
    assert dict(zip(CONTENTS, store.read_all(CONTENTS), strict=True)) == CONTENTS


def read(store: ZipStore, name: str) -> bytes:
    [content] = store.read_all([name])
    return content


@COMPRESSIONS
def test_members_round_trip(tmp_path, compression):
    assert_complete(ZipStore(make_zip(tmp_path / "a.zip", compression)))


class Unseekable:
    """A file that only supports writing: zipfile then writes the sizes after each member."""

    def __init__(self, file: io.BufferedWriter):
        self.write, self.flush = file.write, file.flush


def test_streamed_archive(tmp_path):
    with (tmp_path / "streamed.zip").open("wb") as file, zipfile.ZipFile(Unseekable(file), "w") as archive:
        for name, content in CONTENTS.items():
            archive.writestr(name, content)
    assert_complete(ZipStore(tmp_path / "streamed.zip"))


def test_self_extracting_archive(tmp_path):
    path = tmp_path / "appended.zip"
    path.write_bytes(b"#!/bin/sh the start of a self-extracting archive\n" * 100)
    assert_complete(ZipStore(make_zip(path, mode="a")))


def test_64_bit_headers(tmp_path):
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENTS.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(content)
    assert_complete(ZipStore(path))


def test_offsets_above_four_gigabytes(tmp_path):
    path = tmp_path / "far.zip"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)  # sparse
    store = ZipStore(make_zip(path, mode="a"))
    assert_complete(store)
    assert store.members["offset"].min() > 2**32


def test_more_members_than_16_bits_can_count(tmp_path):
    path = tmp_path / "many.zip"
    names = [f"{number:05d}.jpg" for number in range(70_000)]
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    store = ZipStore(path)
    assert store.names == names
    assert list(store.read_all(names[-2:])) == [b"69998.jpg", b"69999.jpg"]


def test_names_in_code_page_437(tmp_path):
    path = tmp_path / "dos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("gr__e.jpg", b"1")
    path.write_bytes(path.read_bytes().replace(b"gr__e", b"gr\x94\xe1e"))  # ö and ß
    assert read(ZipStore(path), "größe.jpg") == b"1"


def test_comments_and_extra_fields(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"c" * 65_535
        for name, content in CONTENTS.items():
            member = zipfile.ZipInfo(name)
            member.extra = struct.pack("<2H5s", 0x5455, 5, b"\x01time")  # modification time, as Info-ZIP stores it
            member.comment = b"a face"
            archive.writestr(member, content)
    assert_complete(ZipStore(path))


def test_later_member_of_the_same_name_replaces_the_earlier(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("a.jpg", b"the newer")
    store = ZipStore(path)
    assert (read(store, "a.jpg"), store.names, store.replaced) == (b"the newer", sorted(CONTENTS), 1)


def test_selected_members_can_be_pickled(tmp_path):
    part = ZipStore(make_zip(tmp_path / "a.zip")).select(["list.csv", "a/one.jpg"])
    assert part.names == ["a/one.jpg", "list.csv"] and part.members.nbytes == 64
    assert list(pickle.loads(pickle.dumps(part)).read_all(["list.csv", "a/one.jpg"])) == [CONTENTS["list.csv"], b"1"]
    with pytest.raises(FaceganError, match=r"expected a\.jpg in .*a\.zip; found no such member"):
        read(part, "a.jpg")


@COMPRESSIONS
def test_damage_affects_one_member(tmp_path, compression):
    path = make_zip(tmp_path / "a.zip", compression)
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("list.csv").header_offset + 30 + len("list.csv")
    content = bytearray(path.read_bytes())
    content[start + 5] ^= 0xFF
    path.write_bytes(content)
    store = ZipStore(path)
    with pytest.raises(FaceganError, match=r"expected list\.csv in .*a\.zip without errors; found damage"):
        read(store, "list.csv")
    assert read(store, "a.jpg") == CONTENTS["a.jpg"]


def test_missing_archive_is_reported(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    store = ZipStore(path)
    path.unlink()
    for open_again in (lambda: ZipStore(path), lambda: read(store, "a.jpg")):
        with pytest.raises(FaceganError, match=r"expected a zip archive in .*a\.zip; found no such file"):
            open_again()


@pytest.mark.parametrize("kind", ["text", "empty", "end missing", "start missing", "damaged directory"])
def test_other_file_is_reported(tmp_path, kind):
    content = make_zip(tmp_path / "a.zip").read_bytes()
    directory = content.replace(b"PK\x01\x02", b"PK\x01\x00", 1)
    variants = {"text": b"not a zip", "empty": b"", "end missing": content[:-30], "start missing": content[100:]}
    (tmp_path / "b.zip").write_bytes(variants.get(kind, directory))
    with pytest.raises(FaceganError, match=r"expected a zip archive in .*b\.zip; found something else \(.*\); use a complete"):
        ZipStore(tmp_path / "b.zip")
