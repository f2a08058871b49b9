"""A generator as a Python object, for programs that use facegan as a library."""

from pathlib import Path

import torch
from PIL import Image

from facegan.common.config import read_values
from facegan.common.pictures import to_bytes
from facegan.models.generator_file import load_generator
from facegan.models.latents import seeded_latents, truncate
from facegan.sampling.parameters import SampleParameters

FACES_AT_ONCE = 16


class FaceGenerator:
    """A trained generator.

    Attributes:
        card: what it is and where it comes from; see ``facegan.models.generator_file.Card``.
    """

    def __init__(self, path: str | Path, device: str = "cpu"):
        self.device = torch.device(device)
        self.network, self.card = load_generator(Path(path), self.device)

    @torch.inference_mode()
    def faces(self, seed: int = 0, count: int = 1, truncation: float = 1.0) -> list[Image.Image]:
        """Returns ``count`` faces at the generator's own size: the same for the same seed, as the stage ``sample`` draws them.

        Args:
            truncation: below 1, more typical and less varied faces.

        Raises:
            FaceganError: an impossible number.
        """
        chosen = read_values(SampleParameters, {"seed": seed, "count": count, "truncation": truncation}, "the arguments")
        latents = truncate(self.network, seeded_latents(self.network, chosen.count, chosen.seed), chosen.truncation)
        batches = [to_bytes(self.network(part.to(self.device))).cpu() for part in latents.split(FACES_AT_ONCE)]
        return [Image.fromarray(face.permute(1, 2, 0).numpy()) for face in torch.cat(batches)]
