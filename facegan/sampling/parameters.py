"""The section ``sample`` of the parameters."""

import dataclasses
from typing import Annotated

from facegan.common.config import Above, AtLeast


@dataclasses.dataclass(frozen=True)
class SampleParameters:
    """What to draw.

    ``truncation`` below 1 draws nearer to the middle of the latents or styles, for faces that are more typical and less varied.
    """

    seed: Annotated[int, AtLeast(0)]
    count: Annotated[int, AtLeast(1)]
    truncation: Annotated[float, Above(0)]
