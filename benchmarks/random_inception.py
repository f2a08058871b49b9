"""Random weights for Inception-v3, to compare and time scorers if the published weights are not available.

Output: the tensors that every FID implementation loads, under their common names.
"""

from pathlib import Path

import torch
from torch import Tensor, nn


def draw_inception(seed: int) -> dict[str, Tensor]:
    """Returns the state dict of an Inception-v3 with 1,008 classes and He-normal convolutions. It depends only on the seed."""
    import torchvision

    torch.manual_seed(seed)
    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    return network.state_dict()


def save_random_inception(path: Path, seed: int) -> None:
    """Writes the state dict to a PyTorch file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(draw_inception(seed), path)
