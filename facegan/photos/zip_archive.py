"""Members of a zip file, read in place by many processes.

In: a zip file. Out: the names of its files, and the bytes of each. Python's ``zipfile`` holds 650 bytes for each member in every
process that opens the file, and takes three times as long over the table of contents, while all cores wait. So the table is
read here, once, and what stays of it is each name and 24 bytes.

The layout is that of PKWARE's APPNOTE.TXT 6.3.10: at the file's end a record says where the directory lies (sections 4.3.14 to
4.3.16), which has a header for each member (4.3.12), which says where the member lies, with a header of its own (4.3.7).
"""

import bisect
import itertools
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from facegan.common.errors import FaceganError

PLACE = np.dtype([("offset", "<u8"), ("bytes", "<u8"), ("crc", "<u4"), ("method", "<u2"), ("flags", "<u2")])  # of a member
PACKED_PLACE = struct.Struct("<2QI2H")
ENCRYPTED, UTF8 = 1 << 0, 1 << 11  # of the flags
END = struct.Struct("<4s 8x 2I 2x")  # signature, bytes and offset of the directory; a comment may follow
LONGEST_COMMENT = 65_535
LOCATOR = struct.Struct("<4s 16x")  # signature; right before the end, where there is an end in 64 bits too, right before the locator
END64 = struct.Struct("<4s 36x 2Q")  # signature, bytes and offset of the directory
ENTRY = struct.Struct("<4s 4x 2H 4x 3I 3H 8x I")  # signature, flags, method, crc, bytes, full bytes, lengths of what follows, offset
HEADER = struct.Struct("<26x 2H")  # lengths of name and extra field, which lie between this and the contents
EXTRA = struct.Struct("<2H")  # kind and length of one part of the extra field
EXTRA64 = 1  # the kind that holds numbers of 64 bits
IN_EXTRA64 = 0xFFFFFFFF  # instead of a number that is there


class ZipStore:
    """A zip file's members by name. It can be pickled."""

    def __init__(self, path: Path, names: list[str] | None = None, places: np.ndarray | None = None):
        self.path = path
        self.names, self.places = read_table(path) if names is None else (names, places)

    def list_names(self) -> list[str]:
        """Returns the names of all files in the archive, in plain order."""
        return self.names

    def select(self, names: list[str]) -> "ZipStore":
        """Returns a store of these members alone, small enough to be sent to another process."""
        names = sorted(names)
        return ZipStore(self.path, names, self.places[[self.find(name) for name in names]])

    def find(self, name: str) -> int:
        """Returns the member's row in the table. Raises FaceganError when there is none of that name."""
        row = bisect.bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise FaceganError(f"expected {name} in {self.path}; found no such member; run the download stage again")
        return row

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the bytes of each of these members. Raises FaceganError when there is none, or it is damaged or encrypted."""
        try:
            file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            raise FaceganError(f"expected a zip archive in {self.path}; found no such file; run the download stage again") from None
        try:
            for name in names:
                try:
                    yield read_member(file, self.places[self.find(name)])
                except (zipfile.BadZipFile, zlib.error, struct.error) as error:
                    raise FaceganError(f"expected {name} in {self.path} to be whole; found damage ({error}); get the archive again") from None
        finally:
            os.close(file)


def read_table(path: Path) -> tuple[list[str], np.ndarray]:
    """Returns the names of all files in a zip, in plain order, and the place (n,) of each. Of two of one name the later counts.

    Raises:
        FaceganError: the file is missing or not a zip.
    """
    names, packed = [], bytearray()
    try:
        with path.open("rb") as file:
            directory, shift = read_directory(file)
        for name, place in list_members(directory, shift):
            names.append(name)
            packed += PACKED_PLACE.pack(*place)
    except FileNotFoundError:
        raise FaceganError(f"expected a zip archive in {path}; found no such file; run the download stage again") from None
    except (zipfile.BadZipFile, struct.error, UnicodeDecodeError, OSError) as error:
        raise FaceganError(f"expected a zip archive in {path}; found something else ({error}); give a whole zip file") from None
    rows = sorted(range(len(names)), key=names.__getitem__)  # of equal names the later stays the later
    rows = [row for row, after in itertools.pairwise([*rows, None]) if after is None or names[row] != names[after]]
    return [names[row] for row in rows], np.frombuffer(packed, PLACE)[rows]


def read_directory(file: BinaryIO) -> tuple[bytes, int]:
    """Returns a zip's directory, and how many bytes came before what was once its beginning. Raises BadZipFile when there is none."""
    file_bytes = file.seek(0, os.SEEK_END)
    tail_at = file.seek(max(0, file_bytes - END.size - LONGEST_COMMENT - LOCATOR.size - END64.size))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0:
        raise zipfile.BadZipFile("it does not end as zip files do")
    _, directory_bytes, offset = END.unpack_from(tail, at)
    at64 = at - LOCATOR.size - END64.size
    if at64 >= 0 and tail[at64:].startswith(b"PK\x06\x06") and tail[at - LOCATOR.size :].startswith(b"PK\x06\x07"):
        at = at64
        _, directory_bytes, offset = END64.unpack_from(tail, at)
    directory_at = tail_at + at - directory_bytes
    if directory_at < offset:
        raise zipfile.BadZipFile("bytes are missing")
    file.seek(directory_at)
    return file.read(directory_bytes), directory_at - offset


def list_members(directory: bytes, shift: int) -> Iterator[tuple[str, tuple[int, int, int, int, int]]]:
    """Yields name and place of each file, in the order of a zip's directory. Raises BadZipFile, struct.error or UnicodeDecodeError."""
    at = 0
    while at < len(directory):
        signature, flags, method, crc, size, full_size, name_bytes, extra_bytes, comment_bytes, offset = ENTRY.unpack_from(directory, at)
        if signature != b"PK\x01\x02":
            raise zipfile.BadZipFile("its directory is damaged")
        at += ENTRY.size
        name = directory[at : at + name_bytes].decode("utf-8" if flags & UTF8 else "cp437")
        at += name_bytes
        if IN_EXTRA64 in (size, full_size, offset):
            _, size, offset = read_extra64(directory[at : at + extra_bytes], full_size, size, offset)
        at += extra_bytes + comment_bytes
        if not name.endswith("/"):
            yield name, (offset + shift, size, crc, method, flags)


def read_extra64(extra: bytes, *numbers: int) -> Iterator[int]:
    """Yields the numbers, in the order in which the extra field holds those that want 64 bits. Raises struct.error when it lacks one."""
    at = 0
    while EXTRA.unpack_from(extra, at)[0] != EXTRA64:
        at += EXTRA.size + EXTRA.unpack_from(extra, at)[1]
    at += EXTRA.size
    for number in numbers:
        if number == IN_EXTRA64:
            [number] = struct.unpack_from("<Q", extra, at)
            at += 8
        yield number


def read_member(file: int, place: np.void) -> bytes:
    """Returns the bytes at one place of an open zip. Raises BadZipFile, zlib.error or struct.error when they are damaged."""
    offset, size, crc, method, flags = place.item()
    if flags & ENCRYPTED:
        raise zipfile.BadZipFile("it is encrypted")
    name_bytes, extra_bytes = HEADER.unpack(os.pread(file, HEADER.size, offset))
    content = os.pread(file, size, offset + HEADER.size + name_bytes + extra_bytes)
    if method == zipfile.ZIP_DEFLATED:
        content = zlib.decompress(content, wbits=-zlib.MAX_WBITS)
    elif method != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile(f"compression method {method}, where stored and deflated are known")
    if zlib.crc32(content) != crc:
        raise zipfile.BadZipFile("its checksum differs")
    return content
