"""The section ``sample`` of the parameters."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

from facegan.common.config import Number, Section, Seed, WholeNumber


class SampleParameters(Section):
    """What to draw.

    Attributes:
        seed: random seed of the faces; the same seed gives the same faces.
        count: number of single faces.
        truncation: values below 1 move latents or styles toward their mean, for more typical and less varied faces.
    """

    seed: Seed
    count: Annotated[WholeNumber, Ge(1), Le(1_000_000)]
    truncation: Annotated[Number, Gt(0), Le(10)]
