"""A generator as a Python object, for programs that use facegan as a library."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from PIL import Image

from facegan.common.config import read_values
from facegan.common.labels import check
from facegan.models.generator_file import load_generator
from facegan.sampling.faces import generate_numbered
from facegan.sampling.parameters import SampleParameters


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

        Args:
            truncation: values below 1 give more typical and less varied faces.
            labels: values by column, such as ``{"Smiling": 1}``; other labels are drawn with their frequency in the training data.

        Raises:
            FaceganError: an argument is out of range, or a label that the generator does not have.
        """
        given = check(labels, self.network.labels.columns)
        chosen = read_values(SampleParameters, {"seed": seed, "count": count, "truncation": truncation}, "the arguments")
        faces = generate_numbered(self.network, chosen, range(chosen.count), given, quiet=True)  # (3, H, W) each
        return [Image.fromarray(face.permute(1, 2, 0).numpy()) for _, face in faces]
