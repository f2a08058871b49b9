"""Random access to the members of a zip archive from many processes.

In: a zip archive. Out: the names of its files and the content of each. ``zipfile`` parses the directory and decompresses. This module
adds what ``zipfile`` lacks: a table of 32 bytes per member that can be sent to worker processes (``zipfile`` needs 650 bytes per member in
each process), and checks of what a damaged or malicious archive may state wrongly without an error from ``zipfile``.

Field names follow PKWARE's APPNOTE.TXT 6.3.10: each member begins with a header (4.3.7); the directory has an entry for each member
(4.3.12); an end record after it states the number of entries (4.3.16), in 64 bits in large archives (4.3.14).
"""

import bisect
import copy
import itertools
import mmap
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from facegan.common.errors import FaceganError, printable
from facegan.photos.formats import UNPACK, describe_other_file

MEMBER = np.dtype([("offset", "<u8"), ("stored_bytes", "<u8"), ("bytes", "<u8"), ("crc", "<u4"), ("method", "<u2"), ("flags", "<u2")])
MEMBER_STRUCT = struct.Struct("<3QI2H")  # the same layout
ENCRYPTED, UTF8 = 1 << 0, 1 << 11  # bits of the flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile reads the others without a memory limit: bzip2 expands 1:1,000,000
CHUNK_BYTES = 1_000_000
HEADER = struct.Struct("<4s 22x 2H")  # signature, lengths of name and extra field, which follow
ENTRY = struct.Struct("<4s 4x H 18x H 16x")  # signature, flags, length of the name, which follows
END = struct.Struct("<4s 6x H 10x")  # signature, number of entries
END64 = struct.Struct("<4s 28x Q 16x")
# What zipfile raises for invalid archives.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OverflowError)


class ZipStore:
    """The files in a zip archive, by name. Can be pickled.

    Attributes:
        names: the sorted names of the files.
        members: the location of each, an array of MEMBER (n,).
        replaced: number of files in the archive that are hidden by a later file with the same name.

    Raises:
        FaceganError: the archive is missing or damaged.
    """

    def __init__(self, path: Path):
        self.path = path
        self.names, self.members, self.replaced = read_table(path)

    def list_files(self) -> Iterator[tuple[str, int]]:
        """Yields name and size in bytes of each file, sorted by name."""
        return zip(self.names, self.members["bytes"].tolist(), strict=True)

    def select(self, names: list[str]) -> "ZipStore":
        """Returns a store of these files only, small enough to send to another process."""
        part = copy.copy(self)
        part.names = sorted(names)
        part.members = self.members[[self.find(name) for name in part.names]]
        return part

    def find(self, name: str) -> int:
        """Returns the file's row in the table. Raises FaceganError if there is none."""
        row = bisect.bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise FaceganError(f"expected {printable(name)} in {self.path}; found no such member; run the download stage again")
        return row

    def is_readable(self, name: str) -> bool:
        """Returns whether the file is neither encrypted nor compressed by an unsupported method."""
        member = self.members[self.find(name)]
        return not member["flags"] & ENCRYPTED and member["method"] in METHODS

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the content of each file. Raises FaceganError if one is missing, damaged or not readable."""
        return (b"".join(chunks) for chunks in self.stream_all(names))

    def stream_all(self, names: Iterable[str]) -> Iterator[Iterator[bytes]]:
        """Yields an iterator over each file's content in chunks, so that files of any size can be checked. Raises like ``read_all``."""
        with open_archive(self.path) as file:
            for name in names:
                yield self.stream(file, name)

    def stream(self, file: BinaryIO, name: str) -> Iterator[bytes]:
        """Yields the content of one file of the opened archive in chunks. Raises like ``read_all``."""
        try:
            yield from read_chunks(file, name, self.members[self.find(name)])
        except DAMAGE as error:
            problem = f"expected {printable(name)} in {self.path} without errors; found damage ({describe_error(error)})"
            raise FaceganError(f"{problem}; {choose_remedy(self.path, 'get the archive again')}") from None


def describe_error(error: Exception) -> str:
    """Returns an error's text, safe to print."""
    return printable(str(error) or type(error).__name__)


def choose_remedy(path: Path, usual: str) -> str:
    """Returns what to do about an archive with errors."""
    is_large = path.stat().st_size >= 1 << 32
    return f"macOS writes zip files of over 4 GB with wrong sizes: {UNPACK}" if is_large else usual


def describe_other_archive(path: Path) -> tuple[str, str] | None:
    """Returns what a file is instead of a complete zip archive, and what to do, or None if it is not known."""
    with path.open("rb") as file:
        start = file.read(300)
    if start.startswith(b"PK\x07\x08") or path.suffix == ".001" or path.with_suffix(".z01").exists():
        return "one part of a split zip file", f"join its parts with `zip -s 0 {printable(path.name)} --out joined.zip`, or {UNPACK}"
    return describe_other_file(start)


def open_archive(path: Path) -> BinaryIO:
    """Opens an archive. Raises FaceganError if it is missing or not readable."""
    try:
        return path.open("rb")
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise FaceganError(f"expected a zip archive in {path}; found {found}; run the download stage again") from None


def read_table(path: Path) -> tuple[list[str], np.ndarray, int]:
    """Returns the sorted names of the files in an archive, the MEMBER (n,) of each, and the number of replaced files.

    Raises:
        FaceganError: the archive is missing or damaged.
    """
    names, packed = [], bytearray()
    try:
        with open_archive(path) as file:
            for entry in read_directory(file):
                name = entry.orig_filename.replace("\\", "/")  # written by some programs on Windows
                if entry.file_size or not name.endswith("/"):  # not a folder
                    names.append(name)
                    packed += MEMBER_STRUCT.pack(
                        entry.header_offset, entry.compress_size, entry.file_size, entry.CRC, entry.compress_type, entry.flag_bits
                    )
    except (*DAMAGE, OSError) as error:
        unknown = f"something else ({describe_error(error)})", choose_remedy(path, "use a complete, undamaged zip file")
        found, remedy = describe_other_archive(path) or unknown
        raise FaceganError(f"expected a zip archive in {path}; found {found}; {remedy}") from None
    rows = sorted(range(len(names)), key=names.__getitem__)  # stable: of equal names the later one comes last
    rows = [row for row, after in zip(rows, [*rows, -1][1:], strict=True) if after < 0 or names[row] != names[after]]
    return [names[row] for row in rows], np.frombuffer(packed, MEMBER)[rows], len(names) - len(rows)


def read_directory(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Returns the entries of an archive's directory. Raises one of DAMAGE if the directory is invalid."""
    try:
        archive = zipfile.ZipFile(file)
    except UnicodeDecodeError:  # zipfile rejects the archive if one name has the UTF-8 flag and is not UTF-8
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as view:
            clear_false_utf8(view)
            archive = zipfile.ZipFile(cast(BinaryIO, view))  # zipfile only reads and seeks
    entries = archive.infolist()
    check_entries(file, archive.start_dir, entries)
    return entries


def clear_false_utf8(archive: mmap.mmap) -> None:
    """Clears the UTF-8 flag of entries whose name is not valid UTF-8. Bytes in a photo that look like an entry may change too."""
    for match in re.finditer(re.escape(b"PK\x01\x02"), archive):
        at = match.start()
        if at + ENTRY.size <= len(archive):
            _, flags, name_bytes = ENTRY.unpack_from(archive, at)
            try:
                archive[at + ENTRY.size : at + ENTRY.size + name_bytes].decode()
            except UnicodeDecodeError:
                struct.pack_into("<H", archive, at + 8, flags & ~UTF8)


def check_entries(file: BinaryIO, start: int, entries: list[zipfile.ZipInfo]) -> None:
    """Checks the directory that begins at ``start``.

    Without the number of entries, a wrong length in one entry could silently hide those that follow. Without the check for overlaps, a few
    kilobytes that are shared by many entries could expand to terabytes.

    Raises:
        BadZipFile: the number of entries is not the one in the end record, or members overlap each other or the directory.
    """
    end, places = start, [(start, 0)]
    for entry in entries:
        name_bytes = len(encode_name(entry.orig_filename, entry.flag_bits))
        end += ENTRY.size + name_bytes + len(entry.extra) + len(entry.comment)
        # the least that the member occupies: its header may have more extra fields than the entry
        places.append((entry.header_offset, HEADER.size + name_bytes + entry.compress_size))
    file.seek(end)
    record, counts = file.read(END64.size), 1 << 16  # some writers let the count overflow at 16 bits
    if record.startswith(b"PK\x06\x06") and len(record) == END64.size:
        (_, count), counts = END64.unpack(record), 1 << 64
    elif record.startswith(b"PK\x05\x06"):
        _, count = END.unpack_from(record)
    else:
        raise zipfile.BadZipFile("no end record follows its directory")
    if (len(entries) - count) % counts:
        raise zipfile.BadZipFile(f"its directory has {len(entries):,} files, and its end says {count:,}")
    places.sort()
    if places[-1] != (start, 0) or any(offset + size > after for (offset, size), (after, _) in itertools.pairwise(places)):
        raise zipfile.BadZipFile("its files overlap each other or its directory")


def encode_name(name: str, flags: int) -> bytes:
    """Returns a member's name in its stored encoding."""
    return name.encode("utf-8" if flags & UTF8 else "cp437")


def read_chunks(file: BinaryIO, name: str, member: Any) -> Iterator[bytes]:
    """Yields the content of a member (a record of MEMBER), at most CHUNK_BYTES at a time.

    Raises:
        FaceganError: the member is encrypted, or compressed by an unsupported method.
        Exception: one of DAMAGE, if name, length or checksum differ from the directory.
    """
    offset, stored_bytes, size, crc, method, flags = member.item()
    if flags & ENCRYPTED:
        problem = f"expected {printable(name)} to be readable; found it encrypted"
        raise FaceganError(f"{problem}; unpack the archive, and pack it again without a password")
    if method not in METHODS:
        found = getattr(zipfile, "compressor_names", {}).get(method, f"method {method}")
        problem = f"expected {printable(name)} stored or deflated; found it compressed by {found}"
        raise FaceganError(f"{problem}; unpack the archive, and pack it again")
    file.seek(offset)
    signature, name_bytes, extra_bytes = HEADER.unpack(file.read(HEADER.size))
    if signature != b"PK\x03\x04" or file.read(name_bytes).replace(b"\\", b"/") != encode_name(name, flags):
        raise zipfile.BadZipFile("no file of this name begins where the directory says")
    file.seek(extra_bytes, os.SEEK_CUR)
    entry = zipfile.ZipInfo(name)
    entry.compress_size, entry.file_size, entry.CRC, entry.compress_type, entry.flag_bits = stored_bytes, size, crc, method, flags
    stream = zipfile.ZipExtFile(cast(Any, file), "r", entry)  # documented for zipfile's own file objects
    while chunk := stream.read(CHUNK_BYTES):
        size -= len(chunk)
        yield chunk
    if size:  # zipfile checks the CRC, and accepts a shorter content
        raise zipfile.BadZipFile(f"{size:,} bytes are missing")
