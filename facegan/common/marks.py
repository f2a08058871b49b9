"""Marks on generated pictures: metadata for programs that ask whether a picture was generated, by what, and from which latents.

In or out: a picture file. The mark is an XMP packet with IPTC's DigitalSourceType, as the photo metadata standard 2025.1 specifies, in PNG,
WebP, JPEG and GIF. Its bytes depend on its values only, so marked outputs stay reproducible. Photos get no mark.
"""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from PIL import Image

IPTC, OURS = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "urn:facegan:mark#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED, COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"
PNG_KEYWORD = "XML:com.adobe.xmp"
GIF_BLOCK, GIF_TRAILER = b"\x21\xff\x0bXMP DataXMP", bytes([1, *range(255, -1, -1), 0])  # XMP specification, part 3, 1.1.2
LARGEST_XMP_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Mark:
    """What a picture file states about its origin.

    Attributes:
        generator: the generator's SHA-256, ``Card.sha256``; empty: unknown.
        model: the generator in words.
        content: what the picture shows: a face, a grid, a walk.
        faces: the generated faces, row by row, as seed-number-truncation or in another form of ``facegan.sampling.codes``.
        labels: the labels that were requested for the faces.
        composite: the picture also contains real photos.
    """

    generator: str = ""
    model: str = ""
    content: str = ""
    faces: tuple[str, ...] = ()
    labels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    composite: bool = False

    def replace(self, content: str, *faces: str, composite: bool = False) -> "Mark":
        """Returns the mark of a picture by the same generator."""
        return dataclasses.replace(self, content=content, faces=faces, composite=composite)

    def write_xmp(self) -> str:
        """Returns the XMP packet."""
        values = {
            "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPES + (COMPOSITE if self.composite else GENERATED),
            "facegan:generator": self.generator,
            "facegan:model": self.model,
            "facegan:content": self.content,
            "facegan:faces": " ".join(self.faces),
            "facegan:labels": json.dumps(dict(self.labels), sort_keys=True) if self.labels else "",
        }
        attributes = " ".join(f"{name}={quoteattr(value)}" for name, value in values.items() if value)
        return (
            '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
            f'<rdf:RDF xmlns:rdf="{RDF}"><rdf:Description rdf:about="" xmlns:Iptc4xmpExt="{IPTC}" xmlns:facegan="{OURS}" {attributes}/>'
            '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
        )


def save_marked(file: BinaryIO, image: "Image.Image", format: str, mark: Mark | None, **options: Any) -> None:
    """Writes an image, or an animation with ``save_all`` and ``append_images``, to a file.

    Args:
        format: PNG, WEBP, JPEG or GIF.
        mark: None: a picture without generated content.
        options: of Pillow's ``Image.save``.
    """
    from PIL.PngImagePlugin import PngInfo

    if mark is None:
        image.save(file, format, **options)
        return
    xmp = mark.write_xmp()
    if format == "PNG":
        chunks = PngInfo()
        chunks.add_itxt(PNG_KEYWORD, xmp)
        image.save(file, format, pnginfo=chunks, **options)
    elif format == "GIF":  # for which Pillow does not write XMP
        image.save(file, format, **options)
        file.seek(-1, os.SEEK_END)  # before the last byte, which ends the file
        file.write(GIF_BLOCK + xmp.encode() + GIF_TRAILER + b";")
        file.seek(0)
        file.write(b"GIF89a")  # the version with such blocks; Pillow writes GIF87a for a single frame
    else:
        image.save(file, format, xmp=xmp.encode(), **options)


def read_mark(path: Path) -> Mark | None:
    """Returns a picture file's mark, or None if it has none of ours or another program's. Does not verify what the mark states.

    Raises:
        OSError, PIL.UnidentifiedImageError: not a readable picture.
    """
    from PIL import Image

    with Image.open(path) as image:
        packet = image.info.get("xmp")
    if packet is None:  # GIF
        found = re.search(rb"<x:xmpmeta.*?</x:xmpmeta>", path.read_bytes(), re.DOTALL)
        packet = found[0] if found else b""
    return parse_xmp(packet)


def parse_xmp(packet: bytes) -> Mark | None:
    """Returns the mark in an XMP packet, or None."""
    values = read_properties(packet)
    source_type = values.get(f"{{{IPTC}}}DigitalSourceType", "").removeprefix(SOURCE_TYPES)
    if source_type not in (GENERATED, COMPOSITE):
        return None
    generator, model, content, faces, labels = (
        values.get(f"{{{OURS}}}{name}", "") for name in ("generator", "model", "content", "faces", "labels")
    )
    try:
        read_labels = json.loads(labels or "{}")
    except ValueError:
        read_labels = {}
    read_labels = read_labels if isinstance(read_labels, dict) else {}
    return Mark(generator, model, content, tuple(faces.split()), read_labels, source_type == COMPOSITE)


def read_properties(packet: bytes) -> dict[str, str]:
    """Returns the text properties of an XMP packet by their XML names. They are attributes or, after some editors, elements."""
    if len(packet) > LARGEST_XMP_BYTES or b"<!" in packet:  # a document type can expand without limit; XMP has none
        return {}
    try:
        root = ElementTree.fromstring(packet.strip(b"\0 \n"))
    except ElementTree.ParseError:
        return {}
    found: dict[str, str] = {}
    for description in root.iter(f"{{{RDF}}}Description"):
        found |= description.attrib | {child.tag: (child.text or "").strip() for child in description}
    return found
