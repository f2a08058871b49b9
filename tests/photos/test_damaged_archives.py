"""Damaged and malicious archives: no photo is lost silently, and memory is limited."""

import functools
import io
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
from fuzz_archives import fuzz_picture, fuzz_zip
from projects import ROOT
from raw_photos import write_zip

from facegan.common.errors import FaceganError
from facegan.photos.selection import find_photos
from facegan.photos.sources.archive import check_archive
from facegan.photos.zip_archive import ZipStore

PHOTOS = {f"faces/{number:02d}.jpg": bytes([number]) * (50 + number) for number in range(40)}


def find_entries(content: bytes) -> list[int]:
    """Returns the offsets of the directory's entries."""
    *_, start, _ = struct.unpack("<4s4H2IH", content[content.rindex(b"PK\x05\x06") :][:22])
    entries = []
    while start < content.rindex(b"PK\x05\x06"):
        entries.append(start)
        start += 46 + sum(struct.unpack_from("<3H", content, start + 28))
    return entries


def edit(path: Path, at: int, format: str, value: int) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(format, content, at, value)
    path.write_bytes(content)
    return path


def refuse(path: Path) -> str:
    """Returns the one-line message with which the archive is rejected."""
    with pytest.raises(FaceganError) as caught:
        check_archive(path)
    message = str(caught.value)
    assert message.startswith("expected") and "; found" in message and message.isprintable()
    return message


# Offset in an entry, and format.
COMMENT_LENGTH, NAME_LENGTH, FLAGS, METHOD = (32, "<H"), (28, "<H"), (8, "<H"), (10, "<H")
CRC, STORED, BYTES, OFFSET = (16, "<I"), (20, "<I"), (24, "<I"), (42, "<I")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        (COMMENT_LENGTH, 3000, "its directory has 1 files, and its end says 40"),  # the comment includes all following entries
        (COMMENT_LENGTH, 58, "its directory has 39 files, and its end says 40"),  # the comment includes the next entry
        (COMMENT_LENGTH, 50, "Bad magic number"),
        (NAME_LENGTH, 11, "Bad magic number"),
        (OFFSET, 10**9, "overlap"),
        (OFFSET, 10, "overlap"),
        (STORED, 10**6, "overlap"),
        (BYTES, 20, "faces/00.jpg"),
        (BYTES, 51, "1 bytes are missing"),
        (BYTES, 10**6, "bytes are missing"),
        (BYTES, 2**32 - 2, "bytes are missing"),
        (CRC, 1, "Bad CRC-32"),
        (FLAGS, 1, "found it encrypted; unpack the archive"),
        (METHOD, 12, "found it compressed by bzip2; unpack the archive"),
        (METHOD, 77, "found it compressed by method 77; unpack the archive"),
    ],
)
def test_wrong_directory_entry_is_reported(tmp_path, field, value, problem):
    path = write_zip(tmp_path / "a.zip", PHOTOS)
    offset, format = field
    assert problem in refuse(edit(path, find_entries(path.read_bytes())[0] + offset, format, value))


@pytest.mark.parametrize(
    ("offset", "format", "value", "problem"),
    [
        (10, "<H", 39, "its directory has 40 files, and its end says 39"),
        (12, "<I", 39 * 58, "its directory has 39 files, and its end says 40"),  # seems to begin at its second entry
        (12, "<I", 10**9, "found something else"),
    ],
)
def test_wrong_end_record_is_reported(tmp_path, offset, format, value, problem):
    path = write_zip(tmp_path / "a.zip", PHOTOS)
    assert problem in refuse(edit(path, path.read_bytes().rindex(b"PK\x05\x06") + offset, format, value))


def test_empty_archive_has_no_files(tmp_path):
    assert ZipStore(write_zip(tmp_path / "a.zip", {})).names == []


def test_overlapping_members_are_rejected(tmp_path):
    """A few kilobytes that are shared by all entries could expand to terabytes."""
    path = write_zip(tmp_path / "a.zip", PHOTOS)
    entries = find_entries(path.read_bytes())
    second = struct.unpack_from("<I", path.read_bytes(), entries[1] + 42)[0]
    assert "its files overlap" in refuse(edit(path, entries[2] + 42, "<I", second))


@pytest.mark.parametrize(("before", "after"), [(b"faces/00.jpg", b"faces/99.jpg"), (b"PK\x03\x04", b"PK\x03\x05")])
def test_wrong_member_header_is_reported(tmp_path, before, after):
    path = write_zip(tmp_path / "a.zip", PHOTOS)
    path.write_bytes(path.read_bytes().replace(before, after, 1))
    assert "no file of this name begins where the directory says" in refuse(path)


@pytest.mark.parametrize("start", [b"", b"#!/bin/sh\n" * 99])
def test_name_that_is_not_valid_utf8_is_accepted(tmp_path, start):
    path = write_zip(tmp_path / "a.zip", PHOTOS | {"größe.jpg": b"great"})
    path.write_bytes(start + path.read_bytes().replace("größe".encode(), b"gr\xf6\xdfe.."))
    check_archive(path)
    store = ZipStore(path)
    [odd] = set(store.names) - set(PHOTOS)
    assert dict(zip(store.names, store.read_all(store.names), strict=True)) == PHOTOS | {odd: b"great"}
    assert len(find_photos(store.list_files())[0]) == 41
    assert len(ZipStore(path).select([odd]).names) == 1


def test_no_flipped_bit_in_the_directory_loses_a_photo(tmp_path):
    """For every bit: the archive is rejected, or all photos are read unchanged or counted as skipped."""
    photos = {"a/one.jpg": b"one" * 20, "großo.png": b"two"}
    content = write_zip(tmp_path / "a.zip", photos, comment=b"holiday").read_bytes()
    path, refused = tmp_path / "b.zip", 0
    start = find_entries(content)[0]
    for bit in range(start * 8, len(content) * 8):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            check_archive(path)
        except FaceganError:
            refused += 1
            continue
        store = ZipStore(path)
        names, others = find_photos(store.list_files())
        assert len(names) + others.total() == 2, bit
        assert sorted(store.read_all(names)) == sorted(photos.values()), bit
    assert refused > 600


def test_some_inputs_of_the_fuzz_test(tmp_path):
    """tests/fuzz_archives.py runs any number of them."""
    zips = {fuzz_zip(0, number, tmp_path) for number in range(60)}
    pictures = {fuzz_picture(0, number, tmp_path).split()[-1] for number in range(60)}
    assert (zips, pictures) == ({"rejected", "complete"}, {"read", "unreadable"})


@pytest.mark.parametrize("name", ["a\0b.jpg", "../../a.jpg", "/etc/a.jpg", "C:/a.jpg", "\x1b[31ma.jpg", "a\nerror: b.jpg", ".jpg/a.jpg"])
def test_odd_names_are_read_and_printed_safely(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", {name.replace("\0", "@"): b"odd", "b.jpg": b"b"})  # zipfile would truncate the name at NUL
    path.write_bytes(path.read_bytes().replace(b"@", b"\0"))
    check_archive(path)
    assert list(ZipStore(path).read_all([name])) == [b"odd"]
    assert "Bad CRC-32" in refuse(edit(path, find_entries(path.read_bytes())[0] + 16, "<I", 1))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unsupported_compression_is_reported_for_photos_only(tmp_path, compression):
    message = refuse(write_zip(tmp_path / "a.zip", PHOTOS, compression))
    assert zipfile.compressor_names[compression] in message and "pack it again" in message and "faces/00.jpg" in message
    path = write_zip(tmp_path / "b.zip", PHOTOS)
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("readme.txt", b"read me" * 100)
    check_archive(path)
    assert len(find_photos(ZipStore(path).list_files())[0]) == len(PHOTOS)


ZEROS = 201 * 10**6


@functools.cache
def deflate_zeros() -> tuple[bytes, int]:
    """Returns ZEROS bytes of zeros, deflated, and their checksum."""
    compressor, packed, crc, million = zlib.compressobj(wbits=-15), b"", 0, bytes(10**6)
    for _ in range(ZEROS // 10**6):
        packed, crc = packed + compressor.compress(million), zlib.crc32(million, crc)
    return packed + compressor.flush(), crc


def make_bomb(path: Path, name: str, stated_bytes: int) -> Path:
    """Returns an archive with one file whose stated size is ``stated_bytes``, and whose size is ZEROS."""
    packed, crc = deflate_zeros()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), packed)
    path.write_bytes(file.getvalue())
    [entry] = find_entries(path.read_bytes())
    for (at, format), value in ((METHOD, 8), (CRC, crc), (BYTES, stated_bytes)):
        edit(path, entry + at, format, value)
    return path


PEAK = """
import resource, sys
from pathlib import Path
from facegan.common.errors import FaceganError
from facegan.photos.selection import find_photos
from facegan.photos.sources.archive import check_archive
from facegan.photos.zip_archive import ZipStore
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store = ZipStore(Path(sys.argv[1]))
names, others = find_photos(store.list_files())
try:
    check_archive(Path(sys.argv[1]))
    print(len(names), dict(others))
    list(store.read_all(names))
except FaceganError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1000)
"""


@pytest.mark.parametrize(
    ("name", "stated_bytes", "output"),
    [
        ("a.jpg", ZEROS, "0 {'over 200 MB': 1}"),
        ("a.txt", ZEROS, "0 {'.txt': 1}"),
        ("a.jpg", 1000, "found damage"),
        ("a.jpg", 100 * 10**6, "found damage"),
    ],
)
def test_decompression_bomb_takes_little_memory(tmp_path, name, stated_bytes, output):
    path = make_bomb(tmp_path / "bomb.zip", name, stated_bytes)
    assert path.stat().st_size < 10**6
    run = subprocess.run([sys.executable, "-c", PEAK, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    *_, printed, megabytes = run.stdout.splitlines()
    assert output in printed and int(megabytes) < 50
