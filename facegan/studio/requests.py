"""What can be asked of the studio, by the page and by HTTP alike: typed, with bounds, and nothing else."""

from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import Field

from facegan.common.errors import FaceganError, printable
from facegan.sampling.codes import HIGHEST_SEED, MOST_FACES
from facegan.sampling.directions import COUNT, REACH

MOST_PICKED = 8
LONGEST_FACE = 40_000  # characters: 19 styles of 512 numbers are 26,000

Generator = Annotated[str, Field(max_length=200, description="a generator's name, as GET /api/generators lists them; empty: the first")]
Seed = Annotated[int, Field(ge=0, le=HIGHEST_SEED, description="which faces; the same seed gives the same ones")]
Count = Annotated[int, Field(ge=1, le=MOST_FACES, description="how many faces")]
Truncation = Annotated[float, Field(ge=0.05, le=1.5, allow_inf_nan=False, description="below 1: more typical and less varied faces")]
Face = Annotated[
    str, Field(min_length=1, max_length=LONGEST_FACE, description="a face as text: 7-12-0.8 is face 12 of seed 7 at truncation 0.8")
]
Amount = Annotated[float, Field(ge=-2 * REACH, le=2 * REACH, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Request(pydantic.BaseModel):
    """Asks something of one generator."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    generator: Generator = ""


class Wall(Request):
    """A seed's first faces."""

    seed: Seed = 0
    count: Count = 64
    truncation: Truncation = 1.0


class Faces(Request):
    """Some faces, each as text."""

    face: Annotated[list[Face], Field(min_length=1, max_length=MOST_FACES)]


class Blend(Request):
    """One face between others: so much of each."""

    face: Annotated[list[Face], Field(min_length=1, max_length=MOST_PICKED)]
    weight: Annotated[list[Weight], Field(min_length=1, max_length=MOST_PICKED)]

    @pydantic.model_validator(mode="after")
    def check_lengths(self) -> "Blend":
        """Every face needs a weight, and one at least must count."""
        if len(self.face) != len(self.weight):
            raise ValueError(f"expected as many weights as faces; found {len(self.weight)} for {len(self.face)}")
        if not any(self.weight):
            raise ValueError("expected a weight above 0; found none")
        return self


class Mix(Request):
    """The first layers' styles of one face and the others' of a second: style mixing."""

    face: Annotated[list[Face], Field(min_length=2, max_length=2)]
    layer: Annotated[int, Field(ge=0, le=64, description="the first layer that the second face decides")]


class Walk(Request):
    """A closed walk through faces."""

    face: Annotated[list[Face], Field(min_length=2, max_length=MOST_PICKED)]
    frames: Annotated[int, Field(ge=2, le=48, description="from each face to the next")] = 20


class Move(Request):
    """A face moved along the generator's directions."""

    face: Face
    amount: Annotated[
        list[Amount], Field(min_length=1, max_length=COUNT, description="how far along each direction, in standard deviations")
    ]


class Previews(Request):
    """A face moved along each direction alone, from -3 to 3 standard deviations."""

    face: Face


class Compare(pydantic.BaseModel):
    """The same latents through two generators."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    generator: Annotated[list[Generator], Field(min_length=2, max_length=2)]
    seed: Seed = 0
    count: Annotated[int, Field(ge=1, le=64)] = 16
    truncation: Truncation = 1.0


Kind = TypeVar("Kind", bound=pydantic.BaseModel)


def check(kind: type[Kind], **values: Any) -> Kind:
    """Returns the request of these values. Raises FaceganError, in one line, when they make none."""
    try:
        return kind(**values)
    except pydantic.ValidationError as error:
        raise FaceganError(explain(error.errors())) from None


def explain(problems: list[dict[str, Any]]) -> str:
    """Returns what pydantic found wrong in one line: expected, found, what to do."""
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("query", "body")) or "the request"
    found = printable(repr(first.get("input")))[:60]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"expected {where}: {first['msg'][:1].lower()}{first['msg'][1:]}; found {found}{more}; change it"
