"""A quick score while training runs: the Fréchet distance on a small fixed sample.

In: a generator, now and then, and once a sample of real images. Out: one number, for a curve. It is biased by its small sample,
the same way every time, so it ranks the states of one training; runs are compared by the stage ``evaluate``.
"""

import torch
from torch import Tensor, nn

from facegan.models.latents import generate_images, seeded_latents
from facegan.scoring.distances import fit_gaussian, frechet_distance
from facegan.scoring.extractors import BATCH, extract, name_frechet, open_extractor

EXTRACTOR = "efficientnet_lite0"  # quick, and its weights are always at hand


class QuickScore:
    """Scores a generator on the same latents every time; it draws nothing from the default random generators.

    Attributes:
        name: what the score is called, its sample's size included, since that is part of what it means: "fd_…_quick200".
    """

    def __init__(self, real: Tensor, seed: int, device: torch.device | str):
        """Looks at the real images, uint8 (N, 3, H, W), once. As many are generated each time."""
        self.extractor = open_extractor(EXTRACTOR, device=device)
        self.batch = BATCH[self.extractor.device.type]
        self.count, self.seed = len(real), seed
        self.name = f"{name_frechet(self.extractor.space)}_quick{self.count}"
        self.real = fit_gaussian(extract(self.extractor, real.split(self.batch)))

    def __call__(self, generator: nn.Module) -> float:
        """Returns the distance of the generator's images, taken in evaluation mode; its mode afterwards is as before."""
        was_training = generator.training
        generator.eval()
        latents = seeded_latents(generator, self.count, self.seed)
        features = extract(self.extractor, (generate_images(generator, batch) for batch in latents.split(self.batch)))
        generator.train(was_training)
        return frechet_distance(self.real, fit_gaussian(features))
