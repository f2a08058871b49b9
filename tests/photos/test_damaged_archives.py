"""Archives that lie or are damaged: nothing is lost without a word, and a few bytes do not become many."""

import functools
import io
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from fuzz_archives import fuzz_picture, fuzz_zip
from projects import ROOT

from facegan.common.errors import FaceganError
from facegan.photos.selection import find_photos
from facegan.photos.sources.archive import check_archive
from facegan.photos.zip_archive import ZipStore

PHOTOS = {f"faces/{number:02d}.jpg": bytes([number]) * (50 + number) for number in range(40)}


def make_zip(path: Path, files: dict[str, bytes] = PHOTOS, compression: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
        archive.comment = comment
    return path


def find_entries(content: bytes) -> list[int]:
    """Returns where the directory's entries begin."""
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
    """Returns the one line with which the archive is refused when it is opened or checked."""
    with pytest.raises(FaceganError) as caught:
        check_archive(path)
    told = str(caught.value)
    assert told.startswith("expected") and "; found" in told and "\n" not in told
    return told


# where in an entry, its format
COMMENT_LENGTH, NAME_LENGTH, FLAGS, METHOD = (32, "<H"), (28, "<H"), (8, "<H"), (10, "<H")
CRC, STORED, BYTES, OFFSET = (16, "<I"), (20, "<I"), (24, "<I"), (42, "<I")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        (COMMENT_LENGTH, 3000, "its directory has 1 files, and its end says 40"),  # the comment takes in all the entries behind it
        (COMMENT_LENGTH, 58, "its directory has 39 files, and its end says 40"),  # just the next
        (COMMENT_LENGTH, 50, "Bad magic number"),
        (NAME_LENGTH, 11, "Bad magic number"),
        (OFFSET, 10**9, "said to have more bytes than there are"),
        (OFFSET, 10, "overlap"),
        (STORED, 10**6, "overlap"),
        (BYTES, 20, "faces/00.jpg"),
        (BYTES, 51, "its length is another"),
        (BYTES, 10**6, "its length is another"),
        (BYTES, 2**32 - 2, "its length is another"),
        (CRC, 1, "Bad CRC-32"),
        (FLAGS, 1, "found it encrypted; unpack the archive"),
        (METHOD, 12, "found it compressed by bzip2; unpack the archive"),
        (METHOD, 77, "found it compressed by method 77; unpack the archive"),
    ],
)
def test_an_entry_that_lies_is_told(tmp_path, field, value, told):
    path = make_zip(tmp_path / "a.zip")
    at, format = field
    assert told in refuse(edit(path, find_entries(path.read_bytes())[0] + at, format, value))


def test_an_end_that_lies_is_told(tmp_path):
    content = make_zip(tmp_path / "a.zip").read_bytes()
    end = content.rindex(b"PK\x05\x06")
    assert "its directory has 40 files, and its end says 39" in refuse(edit(make_zip(tmp_path / "b.zip"), end + 10, "<H", 39))
    entries = find_entries(content)
    path = edit(make_zip(tmp_path / "c.zip"), end + 12, "<I", end - entries[1])  # a directory that seems to begin with its second entry
    assert "39 files, and its end says 40" in refuse(path)
    path = edit(make_zip(tmp_path / "d.zip"), end + 12, "<I", 10**9)
    assert "found something else" in refuse(path)


def test_members_that_lie_on_one_another_are_refused(tmp_path):
    """A few kilobytes that every entry claims for its own become terabytes."""
    path = make_zip(tmp_path / "a.zip")
    entries = find_entries(path.read_bytes())
    second = struct.unpack_from("<I", path.read_bytes(), entries[1] + 42)[0]
    assert "its files overlap" in refuse(edit(path, entries[2] + 42, "<I", second))


def test_a_member_elsewhere_than_the_directory_says_is_told(tmp_path):
    content = make_zip(tmp_path / "a.zip").read_bytes()
    first = content.index(b"faces/00.jpg")
    renamed = tmp_path / "renamed.zip"
    renamed.write_bytes(content[:first] + b"faces/99.jpg" + content[first + 12 :])
    assert "the directory has another name for it" in refuse(renamed)
    moved = tmp_path / "moved.zip"
    moved.write_bytes(b"PK\x03\x05" + content[4:])
    assert "no file begins where the directory says" in refuse(moved)


def test_one_name_that_is_no_utf_8_costs_nothing(tmp_path):
    path = make_zip(tmp_path / "a.zip", PHOTOS | {"größe.jpg": b"great"})
    path.write_bytes(path.read_bytes().replace("größe".encode(), b"gr\xf6\xdfe.."))
    check_archive(path)
    store = ZipStore(path)
    [odd] = set(store.names) - set(PHOTOS)
    assert dict(zip(store.names, store.read_all(store.names), strict=True)) == PHOTOS | {odd: b"great"}
    assert len(find_photos(store.list_files())[0]) == 41
    assert len(ZipStore(path).select([odd]).names) == 1


def test_bytes_before_the_archive_do_not_confuse_a_name_that_is_no_utf_8(tmp_path):
    content = make_zip(tmp_path / "a.zip", {"größe.jpg": b"great", "a.jpg": b"a"}).read_bytes().replace("größe".encode(), b"gr\xf6\xdfe..")
    (tmp_path / "b.zip").write_bytes(b"#!/bin/sh\n" * 99 + content)
    check_archive(tmp_path / "b.zip")


def test_no_flipped_bit_of_the_directory_loses_a_photo(tmp_path):
    """Every single bit: the archive is refused, or all photos are read as they were, or those that are not are counted."""
    photos = {"a/one.jpg": b"one" * 20, "großo.png": b"two"}
    content = make_zip(tmp_path / "a.zip", photos, comment=b"holiday").read_bytes()
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


def test_a_slice_of_the_fuzz_run(tmp_path):
    """tests/fuzz_archives.py goes on for as long as one likes."""
    outcomes = {fuzz_zip(0, number, tmp_path) for number in range(60)} | {
        fuzz_picture(0, number, tmp_path).split()[-1] for number in range(60)
    }
    assert outcomes == {"refused", "read whole", "read", "unreadable"}


def test_files_of_one_name_are_counted(tmp_path):
    path = make_zip(tmp_path / "a.zip")
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("faces/00.jpg", b"newer")
    store = ZipStore(path)
    assert (len(store.names), store.replaced) == (40, 1)
    assert list(store.read_all(["faces/00.jpg"])) == [b"newer"]


@pytest.mark.parametrize("name", ["a\0b.jpg", "../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "\x1b[31ma.jpg", "a\nerror: b.jpg", ".jpg/a.jpg"])
def test_odd_names_are_read_and_printed_harmlessly(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {name.replace("\0", "@"): b"odd", "b.jpg": b"b"})  # which zipfile would cut at the zero
    path.write_bytes(path.read_bytes().replace(b"@", b"\0"))
    check_archive(path)
    store = ZipStore(path)
    [content] = store.read_all([name])
    assert content == b"odd"
    told = refuse(edit(path, find_entries(path.read_bytes())[0] + 16, "<I", 1))
    assert told.isprintable()


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_uncommon_method_is_named_for_photos_and_passed_over_for_the_rest(tmp_path, compression):
    told = refuse(make_zip(tmp_path / "a.zip", compression=compression))
    assert zipfile.compressor_names[compression] in told and "pack it again" in told and "faces/00.jpg" in told
    path = make_zip(tmp_path / "b.zip")
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("readme.txt", b"read me" * 100)
    check_archive(path)


ZEROS = 201 * 10**6


@functools.cache
def deflate_zeros() -> tuple[bytes, int]:
    """Returns ZEROS zeros, deflated, and their checksum."""
    squeeze, packed, crc, million = zlib.compressobj(wbits=-15), b"", 0, bytes(10**6)
    for _ in range(ZEROS // 10**6):
        packed, crc = packed + squeeze.compress(million), zlib.crc32(million, crc)
    return packed + squeeze.flush(), crc


def make_bomb(path: Path, name: str, told_bytes: int) -> Path:
    """Returns a zip of one member that says it has ``told_bytes`` and has ZEROS."""
    packed, crc = deflate_zeros()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), packed)
    path.write_bytes(file.getvalue())
    [entry] = find_entries(path.read_bytes())
    for (at, format), value in ((METHOD, 8), (CRC, crc), (BYTES, told_bytes)):
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
    ("name", "told_bytes", "told"),
    [
        ("a.jpg", ZEROS, "0 {'over 200 MB': 1}"),
        ("a.txt", ZEROS, "0 {'.txt': 1}"),
        ("a.jpg", 1000, "found damage"),
        ("a.jpg", 100 * 10**6, "found damage"),
    ],
)
def test_a_few_bytes_do_not_become_many(tmp_path, name, told_bytes, told):
    path = make_bomb(tmp_path / "bomb.zip", name, told_bytes)
    assert path.stat().st_size < 10**6
    run = subprocess.run([sys.executable, "-c", PEAK, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    *_, said, megabytes = run.stdout.splitlines()
    assert told in said and int(megabytes) < 50
