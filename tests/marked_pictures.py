"""Reads the XMP of picture files without Pillow and ``facegan.common.marks``: from each format's own blocks, with another parser."""

import struct
from collections.abc import Iterator
from xml.dom import minidom

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def find_packets(content: bytes) -> Iterator[bytes]:
    """Yields the XMP packets of a PNG, WebP, JPEG or GIF file."""
    if content.startswith(b"\x89PNG"):
        at = 8
        while at < len(content):
            size, kind = struct.unpack_from(">I4s", content, at)
            if kind == b"iTXt" and content[at + 8 :].startswith(b"XML:com.adobe.xmp\0\0\0\0\0"):
                yield content[at + 30 : at + 8 + size]
            at += 12 + size
    elif content.startswith(b"RIFF"):
        at = 12
        while at < len(content):
            kind, size = struct.unpack_from("<4sI", content, at)
            if kind == b"XMP ":
                yield content[at + 8 : at + 8 + size]
            at += 8 + size + size % 2
    elif content.startswith(b"\xff\xd8"):
        at = 2
        while content[at + 1] != 0xDA:
            (size,) = struct.unpack_from(">H", content, at + 2)
            if content[at + 4 :].startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                yield content[at + 33 : at + 2 + size]
            at += 2 + size
    else:
        assert content.startswith((b"GIF87a", b"GIF89a")) and content.endswith(b";")
        if b"\x21\xff\x0bXMP DataXMP" in content:
            packet = content.split(b"\x21\xff\x0bXMP DataXMP")[1]
            assert packet.endswith(bytes([1, *range(255, -1, -1), 0]) + b";")
            yield packet[: -len(range(256)) - 3]


def read_xmp(content: bytes) -> dict[str, str]:
    """Returns the properties in a picture's only XMP packet, without their prefixes; empty: it has none."""
    packets = list(find_packets(content))
    assert len(packets) <= 1
    if not packets:
        return {}
    description = minidom.parseString(packets[0]).getElementsByTagName("rdf:Description")[0]
    return {name.split(":")[1]: value for name, value in description.attributes.items() if not name.startswith(("xmlns", "rdf"))}


def read_source_type(content: bytes) -> str:
    """Returns the last part of the DigitalSourceType, or an empty string."""
    return read_xmp(content).get("DigitalSourceType", "").removeprefix(SOURCE_TYPES)
