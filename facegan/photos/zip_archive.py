"""Members of a zip file, read in place by many processes.

In: a zip file. Out: the names of its files, and the bytes of each. Python's ``zipfile`` reads the directory and decompresses. What
stands here is what it believes although a foreign file may lie about it, and a table of a name and 32 bytes a member: ``zipfile``
holds 650 bytes for each in every process that opens the file.

Names of fields are those of PKWARE's APPNOTE.TXT 6.3.10: at the file's end a record says where the directory lies and how many
members it has (sections 4.3.14 to 4.3.16); the directory has an entry for each (4.3.12), and each begins with a header (4.3.7).
"""

import bisect
import contextlib
import io
import itertools
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from facegan.common.errors import FaceganError, printable

MEMBER = np.dtype([("offset", "<u8"), ("stored_bytes", "<u8"), ("bytes", "<u8"), ("crc", "<u4"), ("method", "<u2"), ("flags", "<u2")])
ENCRYPTED, UTF8 = 1 << 0, 1 << 11  # of the flags
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what zipfile makes of a few bytes of the others has no bound: 1:1,000,000 in bzip2
MOST_MEMBERS = 1_000_000  # for which zipfile's own table takes 0.7 GB
CHUNK_BYTES = 1_000_000
HEADER = struct.Struct("<4s 22x 2H")  # signature, lengths of name and extra field, which lie between this and the contents
ENTRY = struct.Struct("<4s 4x H 18x 3H 12x")  # of the directory: signature, flags, lengths of name, extra field and comment, which follow
END = struct.Struct("<4s 6x H I 6x")  # signature, members and bytes of the directory; a comment may follow
LONGEST_COMMENT = 65_535
LOCATOR = struct.Struct("<4s 16x")  # signature; right before the end, where there is an end in 64 bits too, right before the locator
END64 = struct.Struct("<4s 28x 2Q 8x")  # signature, members and bytes of the directory
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
)  # what zipfile meets it with


class ZipStore:
    """A zip file's members by name. It can be pickled.

    Args:
        names: of all files in it, in plain order; None: as the file's directory says.
        members: where and how each of them lies (n,).

    Attributes:
        replaced: how many files are not among them, since a later one has the same name.

    Raises:
        FaceganError: the file is missing, or not a whole zip.
    """

    def __init__(self, path: Path, names: list[str] | None = None, members: np.ndarray | None = None):
        self.path = path
        self.names, self.members, self.replaced = read_table(path) if names is None else (names, members, 0)

    def list_files(self) -> Iterator[tuple[str, int]]:
        """Yields name and bytes of each file in the archive, in plain order of the names."""
        return zip(self.names, self.members["bytes"].tolist(), strict=True)

    def select(self, names: list[str]) -> "ZipStore":
        """Returns a store of these members alone, small enough to be sent to another process."""
        names = sorted(names)
        return ZipStore(self.path, names, self.members[[self.find(name) for name in names]])

    def find(self, name: str) -> int:
        """Returns the member's row in the table. Raises FaceganError when there is none of that name."""
        row = bisect.bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise FaceganError(f"expected {printable(name)} in {self.path}; found no such member; run the download stage again")
        return row

    def is_readable(self, name: str) -> bool:
        """Returns whether the member is neither encrypted nor compressed by an uncommon method."""
        member = self.members[self.find(name)]
        return not member["flags"] & ENCRYPTED and member["method"] in METHODS

    def read_all(self, names: Iterable[str]) -> Iterator[bytes]:
        """Yields the bytes of each of these members. Raises FaceganError when there is none, or it is damaged or not readable."""
        with open_archive(self.path) as file:
            for name in names:
                member = self.members[self.find(name)]
                with self.tell_damage(name):
                    content = read_member(file, name, member)
                yield content

    def check_all(self, names: Iterable[str]) -> Iterator[str]:
        """Yields each of these names once its member has agreed with length and checksum, of whatever size; raises like ``read_all``."""
        with open_archive(self.path) as file:
            for name in names:
                member = self.members[self.find(name)]
                with self.tell_damage(name):
                    check_member(file, name, member)
                yield name

    @contextlib.contextmanager
    def tell_damage(self, name: str) -> Iterator[None]:
        """Turns what is raised for a member that cannot be read into a FaceganError."""
        try:
            yield
        except DAMAGE as error:
            problem = (
                f"expected {printable(name)} in {self.path} to be whole; found damage ({printable(str(error) or type(error).__name__)})"
            )
            raise FaceganError(f"{problem}; get the archive again") from None


def open_archive(path: Path) -> BinaryIO:
    """Opens a zip. Raises FaceganError when there is none, or it may not be read."""
    try:
        return path.open("rb")
    except OSError as error:
        found = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise FaceganError(f"expected a zip archive in {path}; found {found}; run the download stage again") from None


def read_table(path: Path) -> tuple[list[str], np.ndarray, int]:
    """Returns the names of all files in a zip, in plain order, the member (n,) of each, and how many later ones of the same name replace.

    Raises:
        FaceganError: the file is missing, or not a whole zip.
    """
    names, packed = [], bytearray()
    pack = struct.Struct("<3QI2H").pack  # MEMBER
    try:
        with open_archive(path) as file:
            for entry in read_directory(file):
                if entry.file_size or not entry.orig_filename.endswith("/"):  # else it is a folder
                    names.append(entry.orig_filename)
                    packed += pack(
                        entry.header_offset, entry.compress_size, entry.file_size, entry.CRC, entry.compress_type, entry.flag_bits
                    )
    except (*DAMAGE, OSError) as error:
        problem = f"expected a zip archive in {path}; found something else ({printable(str(error) or type(error).__name__)})"
        raise FaceganError(f"{problem}; give a whole zip file") from None
    rows = sorted(range(len(names)), key=names.__getitem__)  # of equal names the later stays the later
    rows = [row for row, after in itertools.pairwise([*rows, None]) if after is None or names[row] != names[after]]
    return [names[row] for row in rows], np.frombuffer(packed, MEMBER)[rows], len(names) - len(rows)


def read_directory(file: BinaryIO) -> list[zipfile.ZipInfo]:
    """Returns the entries of a zip's directory, each of a member of its own. Raises one of DAMAGE when that is not what it holds."""
    start, directory_bytes, members, modulus = find_directory(file)
    if members > MOST_MEMBERS:
        raise zipfile.BadZipFile(f"{members:,} files, where {MOST_MEMBERS:,} are the most")
    try:
        entries = zipfile.ZipFile(file).infolist()
    except UnicodeDecodeError:
        file.seek(start)
        directory = clear_false_utf8(file.read(directory_bytes))
        entries = zipfile.ZipFile(io.BytesIO(directory + file.read())).infolist()  # offsets now count from the directory's start
        for entry in entries:
            entry.header_offset += start
    if (len(entries) - members) % modulus:
        raise zipfile.BadZipFile(f"its directory has {len(entries):,} files, and its end says {members:,}")
    check_places(entries, start, directory_bytes)
    return entries


def find_directory(file: BinaryIO) -> tuple[int, int, int, int]:
    """Returns where a zip's directory starts, its bytes and how many members it has, modulo the last number.

    Some writers let a count in 16 bits overflow. Raises BadZipFile when there is no directory.
    """
    tail_at = max(0, file.seek(0, os.SEEK_END) - END.size - LONGEST_COMMENT - LOCATOR.size - END64.size)
    file.seek(tail_at)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if not 0 <= at <= len(tail) - END.size:
        raise zipfile.BadZipFile("it does not end as zip files do")
    _, members, directory_bytes = END.unpack_from(tail, at)
    modulus = 1 << 16
    at64 = at - LOCATOR.size - END64.size
    if at64 >= 0 and tail[at64:].startswith(b"PK\x06\x06") and tail[at - LOCATOR.size :].startswith(b"PK\x06\x07"):
        at, modulus = at64, 1 << 64
        _, members, directory_bytes = END64.unpack_from(tail, at)
    if directory_bytes > tail_at + at:
        raise zipfile.BadZipFile("bytes are missing")
    return tail_at + at - directory_bytes, directory_bytes, members, modulus


def clear_false_utf8(directory: bytes) -> bytes:
    """Returns a zip's directory without the mark of names in UTF-8 on those that are not, for one of which zipfile refuses all."""
    cleared, at = bytearray(directory), 0
    while at + ENTRY.size <= len(directory):
        signature, flags, name_bytes, extra_bytes, comment_bytes = ENTRY.unpack_from(directory, at)
        if signature != b"PK\x01\x02":
            break  # zipfile will tell
        name = directory[at + ENTRY.size : at + ENTRY.size + name_bytes]
        try:
            name.decode("utf-8")
        except UnicodeDecodeError:
            struct.pack_into("<H", cleared, at + 8, flags & ~UTF8)
        at += ENTRY.size + name_bytes + extra_bytes + comment_bytes
    return bytes(cleared)


def check_places(entries: list[zipfile.ZipInfo], start: int, directory_bytes: int) -> None:
    """Raises BadZipFile unless the entries fill the directory, and their members lie one behind the other before it."""
    lengths = [len(encode_name(entry.orig_filename, entry.flag_bits)) for entry in entries]
    filled = sum(ENTRY.size + length + len(entry.extra) + len(entry.comment) for entry, length in zip(entries, lengths, strict=True))
    if filled != directory_bytes:
        raise zipfile.BadZipFile(f"its directory has {directory_bytes:,} bytes, and its files fill {filled:,} of them")
    # a member's own header may have more fields than the entry, so this is the least that it takes
    least = ((entry.header_offset, HEADER.size + length + entry.compress_size) for entry, length in zip(entries, lengths, strict=True))
    end = 0
    for offset, member_bytes in sorted(least):
        if offset < end:
            raise zipfile.BadZipFile("its files overlap")
        end = offset + member_bytes
    if end > start:
        raise zipfile.BadZipFile("its files are said to have more bytes than there are")


def encode_name(name: str, flags: int) -> bytes:
    """Returns a member's name as the zip has it."""
    return name.encode("utf-8" if flags & UTF8 else "cp437")


def open_member(file: BinaryIO, name: str, member: np.void) -> tuple[zipfile.ZipExtFile, int]:
    """Returns a member, opened, and its bytes. Raises one of DAMAGE when it does not lie there, and FaceganError when it is not readable."""
    offset, stored_bytes, size, crc, method, flags = member.item()
    if flags & ENCRYPTED:
        raise FaceganError(
            f"expected {printable(name)} to be readable; found it encrypted; unpack the archive, and pack it again without a password"
        )
    if method not in METHODS:
        found = zipfile.compressor_names.get(method, f"method {method}")
        raise FaceganError(
            f"expected {printable(name)} stored or deflated; found it compressed by {found}; unpack the archive, and pack it again"
        )
    file.seek(offset)
    signature, name_bytes, extra_bytes = HEADER.unpack(file.read(HEADER.size))
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("no file begins where the directory says")
    if file.read(name_bytes) != encode_name(name, flags):
        raise zipfile.BadZipFile("the directory has another name for it")
    file.seek(extra_bytes, os.SEEK_CUR)
    entry = zipfile.ZipInfo(name)
    entry.compress_size, entry.file_size, entry.CRC, entry.compress_type, entry.flag_bits = stored_bytes, size, crc, method, flags
    return zipfile.ZipExtFile(file, "r", entry), size


def read_member(file: BinaryIO, name: str, member: np.void) -> bytes:
    """Returns the bytes of a member. Raises what ``open_member`` raises, also when length or checksum is another."""
    stream, size = open_member(file, name, member)
    content = stream.read(size + 1)  # the number also bounds what zipfile unpacks at a time
    if len(content) != size:
        raise zipfile.BadZipFile("its length is another")
    return content


def check_member(file: BinaryIO, name: str, member: np.void) -> None:
    """Reads a member in small pieces. Raises what ``read_member`` raises."""
    stream, size = open_member(file, name, member)
    while chunk := stream.read(CHUNK_BYTES):
        size -= len(chunk)
    if size:
        raise zipfile.BadZipFile("its length is another")
