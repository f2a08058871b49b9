"""A generator as a Python object, for programs that use facegan as a library."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from facegan.common.config import read_values
from facegan.common.errors import FaceganError
from facegan.common.files import replace_file
from facegan.common.labels import check
from facegan.common.marks import parse_xmp, save_marked
from facegan.models.generator_file import load_generator
from facegan.sampling.faces import generate_numbered, name_face
from facegan.sampling.parameters import SampleParameters

SAVED_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF"}


def save(image: Image.Image, path: str | Path, **options: Any) -> None:
    """Writes a face, or a picture made from one with Pillow, together with its mark; Pillow's own ``save`` drops it.

    Args:
        path: ends in .png, .webp, .jpg or .gif.
        options: of Pillow's ``Image.save``.

    Raises:
        FaceganError: another suffix, or a picture without a mark.
    """
    path = Path(path)
    if path.suffix.lower() not in SAVED_FORMATS:
        raise FaceganError(f"expected a path that ends in one of {', '.join(SAVED_FORMATS)}; found {path.name}; choose one of those")
    mark = parse_xmp(image.info.get("xmp", b""))
    if mark is None:
        raise FaceganError("expected a generated face; found a picture without a mark; save it with Pillow")
    with replace_file(path) as file:
        save_marked(file, image, SAVED_FORMATS[path.suffix.lower()], mark, **options)


class FaceGenerator:
    """A trained generator.

    Attributes:
        network: latents (B, input_size) to images (B, 3, H, W).
        labels: the columns of labels and their values, such as ``{"Smiling": ("0", "1")}``; empty for an unlabelled generator.
        card: the architecture and the training data; see ``facegan.models.generator_file.Card``.
    """

    def __init__(self, path: str | Path, device: str = "cpu"):
        self.network, self.card = load_generator(Path(path), device)
        self.labels = {column.name: column.values for column in self.network.labels.columns}

    def faces(
        self, seed: int = 0, count: int = 1, truncation: float = 1.0, labels: Mapping[str, object] = MappingProxyType({})
    ) -> list[Image.Image]:
        """Returns the first ``count`` faces of a seed at the generator's resolution: the same ones as from the stage ``sample``.

        Each has its mark in ``info["xmp"]``, which ``facegan.save`` writes.

        Args:
            truncation: values below 1 give more typical and less varied faces.
            labels: values by column, such as ``{"Smiling": 1}``; other labels are drawn with their frequency in the training data.

        Raises:
            FaceganError: an argument is out of range, or a label that the generator does not have.
        """
        given = check(labels, self.network.labels.columns)
        chosen = read_values(SampleParameters, {"seed": seed, "count": count, "truncation": truncation}, "the arguments")
        named = {name: self.labels[name][position] for name, position in given.items()}
        mark = dataclasses.replace(self.card.mark, labels=named)
        images = []
        for number, face in generate_numbered(self.network, chosen, range(chosen.count), given, quiet=True):
            images.append(Image.fromarray(face.permute(1, 2, 0).numpy()))
            images[-1].info["xmp"] = mark.replace("face", name_face(chosen, number)).write_xmp().encode()
        return images
