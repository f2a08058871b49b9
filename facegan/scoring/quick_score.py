"""A quick score during training: Fréchet distances on a small, fixed sample.

Input: a sample of real images, once, and a generator at intervals. Output: one number, for a curve and for the choice of the best weights:
the geometric mean of the distances in the extractor's space and in the structure space. Halving either of them counts the same, so neither
texture nor structure alone decides. The small sample biases it, always by the same amount, so it ranks the states of one run. The stage
``evaluate`` compares runs.
"""

import math

import torch
from torch import Tensor

from facegan.models.latents import generate_images, seeded_latents
from facegan.models.network import GeneratorNetwork
from facegan.scoring.distances import fit_gaussian, frechet_distance
from facegan.scoring.extractors import BATCH, name_frechet, open_extractor
from facegan.scoring.scores import Features, extract_with_averages
from facegan.scoring.structure import NAME, fit_components, project

EXTRACTOR = "efficientnet_lite0"  # fast, and its weights are installed with the requirements


class QuickScore:
    """Scores a generator on the same latents every time, without using the default random number generators.

    Attributes:
        name: of the score, including the sample size, which determines its bias: "fd_…_pixels16_quick200".
    """

    def __init__(self, real: Tensor, seed: int, device: torch.device | str):
        """Extracts the features of the real images, uint8 (N, 3, H, W). N images are generated per score."""
        self.extractor = open_extractor(EXTRACTOR, device=device)
        self.batch = BATCH[self.extractor.device.type]
        self.count, self.seed = len(real), seed
        self.name = f"{name_frechet(self.extractor.space)}_{NAME}_quick{self.count}"
        network, averages = extract_with_averages(self.extractor, real.split(self.batch))
        self.components = fit_components(averages)
        self.real = [fit_gaussian(features) for features in (network, project(averages, self.components))]

    def __call__(self, generator: GeneratorNetwork) -> float:
        """Returns the geometric mean of the distances of images generated in evaluation mode; the generator's mode is restored."""
        return math.sqrt(math.prod(self.measure_distances(generator).values()))

    def measure_distances(self, generator: GeneratorNetwork) -> dict[str, float]:
        """Returns the two distances by name; see ``__call__``."""
        was_training = generator.training
        generator.eval()
        latents = seeded_latents(generator, self.count, self.seed)
        images = (generate_images(generator, batch) for batch in latents.split(self.batch))
        network, averages = extract_with_averages(self.extractor, images)
        generator.train(was_training)
        features = Features(network, project(averages, self.components))
        names = (name_frechet(self.extractor.space), name_frechet(NAME))
        fakes = (fit_gaussian(features.network), fit_gaussian(features.structure))
        return {name: frechet_distance(*pair) for name, *pair in zip(names, self.real, fakes, strict=True)}
