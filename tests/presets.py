"""The project's presets, which of them differ in kind, and how small each model may be made."""

import json
from typing import Any

import torch
import yaml
from import_closure import ROOT
from torch import Tensor

from facegan.common import config
from facegan.models.registry import read_model
from facegan.training.augmentation import Augmentation
from facegan.training.batches import Batches
from facegan.training.distributed import World
from facegan.training.engine import Engine, Hardware
from facegan.training.game import Game
from facegan.training.losses import OBJECTIVES
from facegan.training.networks import Networks
from facegan.training.run import TrainParameters

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
PRESETS = PARAMS["presets"]
LENGTHS = {"batch", "images", "schedule_images", "progress_images", "progress_count", "checkpoint_seconds", "ema_halflife_images"}
# of presets that differ only in photos, width and lengths, one stands for all
KINDS = {
    json.dumps([preset["model"] | {"width": 0}, {key: value for key, value in preset["train"].items() if key not in LENGTHS}]): name
    for name, preset in PRESETS.items()
}
SIZES = {"dcgan": (8, 32), "tutorial28": (32, 28), "keras128": (8, 48), "r3gan": (8, 32), "stylegan2": (8, 32)}  # width, resolution


def make_engine(preset: str, hardware: Hardware, images: Tensor, batch: int, capturable: bool, **changes: Any) -> Engine:
    """Returns an engine for the preset's game, over images (N, 3, H, W) in uint8. ``changes``: sections laid over the preset's."""
    (model, parameters) = config.read_sections({**PARAMS, "preset": preset, **changes}, model=read_model, train=TrainParameters)
    torch.manual_seed(0)
    networks = Networks(model, images.shape[3], parameters.optimizer, (0.5, 0.9), parameters.clip_value, hardware.device, capturable)
    augmentation = Augmentation(parameters.augment)
    game = Game(
        OBJECTIVES[parameters.objective],
        parameters.penalty,
        parameters.penalty_interval,
        parameters.penalty_share,
        augmentation,
        parameters.fresh_batch,
    )
    batches = Batches([images], parameters.order, 0, hardware.device)
    return Engine(networks, game, batches, hardware, World(), batch, parameters.flip, seed=0)
