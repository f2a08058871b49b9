"""The section ``sample`` of the parameters."""

from typing import Annotated

from annotated_types import Ge, Gt, Le

from facegan.common.config import Number, Section, Seed, WholeNumber


class SampleParameters(Section):
    """What to draw.

    Attributes:
        seed: of the latents.
        count: how many single faces.
        truncation: below 1 it draws nearer to the middle of the latents or styles, for faces that are more typical and less varied.
    """

    seed: Seed
    count: Annotated[WholeNumber, Ge(1), Le(1_000_000)]
    truncation: Annotated[Number, Gt(0), Le(10)]
