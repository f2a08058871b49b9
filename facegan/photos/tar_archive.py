"""Members of a tar archive, plain or compressed by gzip, bzip2, xz or Zstandard, in one pass and without unpacking to disk.

In: a tar archive. Out: name, size and content of each file. ``tarfile`` parses. This module adds what it lacks: an archive that ends early,
or has an invalid header between its members, is an error instead of the end, checksums of the compressed data are compared, and memory is
limited.
"""

import bz2
import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from facegan.common.errors import FaceganError, printable
from facegan.common.progress import Progress
from facegan.photos.manifest import escape_name

LARGEST_HEADER_BYTES = 1_000_000  # of a long name or of extended headers, which tarfile reads into memory
CHUNK_BYTES = 1_000_000
BLOCK_BYTES = tarfile.BLOCKSIZE
OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
ZSTANDARD = b"\x28\xb5\x2f\xfd"
DAMAGE = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, ValueError, OverflowError)


class StrictHeader(tarfile.TarInfo):
    """A member's header. Raises ReadError where ``tarfile`` would take an invalid or missing header for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "StrictHeader":
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # zeros: the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is invalid or missing: {error}") from None
        if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
            if not 0 <= header.size <= LARGEST_HEADER_BYTES:
                raise tarfile.ReadError(f"a header of {header.size:,} bytes")
        elif header.size < 0:
            raise tarfile.ReadError(f"a member of {header.size:,} bytes")
        return header


def is_tar(start: bytes) -> bool:
    """Returns whether a file that starts with these BLOCK_BYTES bytes is a tar archive, or is compressed like one."""
    if start.startswith((*OPENERS, ZSTANDARD)):
        return True
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def read_tar(path: Path, is_wanted: Callable[[str, int], bool]) -> Iterator[tuple[str, int, bytes | None]]:
    """Yields name, size in bytes and, if wanted, content of each file. Folders, links and devices are not yielded.

    Args:
        is_wanted: whether to read a file with this name and size.

    Raises:
        FaceganError: the archive is damaged or truncated, or a required package is missing.
    """
    with path.open("rb") as packed, Progress(f"reading {printable(path.name)}", path.stat().st_size // 10**6, "MB") as progress:
        try:
            with open_unpacked(packed) as stream:
                with tarfile.open(fileobj=stream, mode="r|", tarinfo=StrictHeader) as archive:
                    for member in archive:
                        progress.add(packed.tell() // 10**6 - progress.done)
                        if member.isfile():
                            name = clean_name(member.name)
                            content = read_member(archive, member) if is_wanted(name, member.size) else None
                            yield name, member.size, content
                        archive.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all headers
                while chunk := stream.read(CHUNK_BYTES):  # to the checksum at the end
                    if chunk.strip(b"\0"):
                        raise tarfile.ReadError("other data follow its end")
        except DAMAGE as error:
            found = printable(str(error) or type(error).__name__)
            problem = f"expected a tar archive without errors in {path}; found damage ({found})"
            raise FaceganError(f"{problem}; get the archive again") from None


def clean_name(name: str) -> str:
    """Returns a member's name as a relative path with forward slashes, in valid Unicode."""
    name = name.replace("\\", "/").lstrip("/")
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return escape_name(name) if re.search("[\udc80-\udcff]", name) else name


def read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Returns a file's content. Raises ReadError if the archive ends before it."""
    content = cast(IO[bytes], archive.extractfile(member)).read()
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.size - len(content):,} bytes are missing from {printable(member.name)}")
    return content


def open_unpacked(packed: BinaryIO) -> IO[bytes]:
    """Returns a stream of an archive's decompressed bytes. Raises FaceganError if the package for Zstandard is missing."""
    start = packed.read(6)
    packed.seek(0)
    if start.startswith(ZSTANDARD):
        try:
            import zstandard
        except ImportError:
            problem = f"expected the package zstandard, to read {printable(packed.name)}; found none"
            raise FaceganError(f"{problem}; run: pip install zstandard") from None
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed, read_across_frames=True)
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), None)
    return opener(packed) if opener else packed
