"""What the parameters alone decide is the same as what building the networks decides."""

import pytest
import torch
from pydantic import TypeAdapter
from small_generators import SMALL

from facegan.common.errors import FaceganError
from facegan.models.parameters import ModelParameters, find_conflicts
from facegan.models.registry import build_discriminator, build_generator
from facegan.training.microbatch import check_networks


@pytest.mark.parametrize("name", SMALL)
def test_conflicts_are_those_of_the_networks(name):
    for resolution in (28, 30, 32, 40, 48, 63, 64, 72, 100, 128, 256, 320, 512):
        for width in (16, 24, 32, 40, 48, 64, 80):
            arguments = SMALL[name][1] | {"width": width if name != "tutorial28" else 16 * (width // 16)}
            model = TypeAdapter(ModelParameters).validate_python({"name": name, **arguments})
            for stride in (1, 4):
                try:
                    with torch.device("meta"):
                        check_networks(build_generator(model, resolution), build_discriminator(model, resolution), stride, 16, 1)
                    fits = True
                except FaceganError:
                    fits = False
                assert fits == (not list(find_conflicts(model, resolution, stride))), (resolution, width, stride)
