"""A quick score during training: the Fréchet distance on a small, fixed sample.

Input: a sample of real images, once, and a generator at intervals. Output: one number, for a curve. The small sample biases it, always
by the same amount, so it ranks the states of one run. The stage ``evaluate`` compares runs.
"""

import torch
from torch import Tensor

from facegan.models.latents import generate_images, seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.scoring.distances import fit_gaussian, frechet_distance
from facegan.scoring.extractors import BATCH, extract, name_frechet, open_extractor

EXTRACTOR = "efficientnet_lite0"  # fast, and its weights are installed with the requirements


class QuickScore:
    """Scores a generator on the same latents every time, without using the default random number generators.

    Attributes:
        name: of the score, including the sample size, which determines its bias: "fd_…_quick200".
    """

    def __init__(self, real: Tensor, seed: int, device: torch.device | str):
        """Extracts the features of the real images, uint8 (N, 3, H, W). N images are generated per score."""
        self.extractor = open_extractor(EXTRACTOR, device=device)
        self.batch = BATCH[self.extractor.device.type]
        self.count, self.seed = len(real), seed
        self.name = f"{name_frechet(self.extractor.space)}_quick{self.count}"
        self.real = fit_gaussian(extract(self.extractor, real.split(self.batch)))

    def __call__(self, generator: GeneratorNetwork) -> float:
        """Returns the distance of images generated in evaluation mode; the generator's mode is restored."""
        was_training = generator.training
        generator.eval()
        latents = seeded_latents(generator, self.count, self.seed)
        features = extract(self.extractor, (generate_images(generator, batch) for batch in latents.split(self.batch)))
        generator.train(was_training)
        return frechet_distance(self.real, fit_gaussian(features))
