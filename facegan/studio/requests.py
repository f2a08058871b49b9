"""The requests that the page and the HTTP API accept: typed, with bounds."""

from collections.abc import Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field

from facegan.common.errors import printable
from facegan.sampling.codes import HIGHEST_SEED, MOST_FACES, name_faces
from facegan.sampling.directions import COUNT, REACH
from facegan.sampling.label_directions import MOST

MAX_PICKED = 16
MAX_FACE_LENGTH = 40_000  # characters: 19 styles of 512 numbers take 26,000

Generator = Annotated[str, Field(max_length=200, description="a generator's name, as listed by GET /api/generators; empty: the first one")]
Seed = Annotated[int, Field(ge=0, le=HIGHEST_SEED, description="the random seed; the same seed gives the same faces")]
Count = Annotated[int, Field(ge=1, le=MOST_FACES, description="number of faces")]
Truncation = Annotated[float, Field(ge=0.05, le=1.5, allow_inf_nan=False, description="below 1: more typical and less varied faces")]
Face = Annotated[
    str,
    Field(min_length=1, max_length=MAX_FACE_LENGTH, description="a face as text: 7-12-0.8 is face 12 of seed 7 at truncation 0.8"),
]
PickedFaces = Annotated[list[Face], Field(min_length=1, max_length=MAX_PICKED)]
Amount = Annotated[float, Field(ge=-2 * REACH, le=2 * REACH, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


Label = Annotated[str, Field(max_length=1000, pattern="^[^=]+=", description="a label that all faces have, such as glasses=yes")]


class Request(pydantic.BaseModel):
    """A request to one generator."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    generator: Generator = ""


class Wall(Request):
    """The first faces of a seed."""

    seed: Seed = 0
    count: Count = 64
    truncation: Truncation = 1.0
    label: Annotated[list[Label], Field(max_length=100)] = []

    @property
    def labels(self) -> dict[str, str]:
        """The labels, as values by column."""
        return dict(label.split("=", 1) for label in self.label)

    def name_faces(self) -> list[str]:
        """Returns the faces as text."""
        return name_faces(self.seed, self.count, self.truncation, self.labels)


class Faces(Request):
    """Faces given as text."""

    face: Annotated[list[Face], Field(min_length=1, max_length=MOST_FACES)]


class Blend(Request):
    """A weighted mean of faces."""

    face: PickedFaces
    weight: Annotated[list[Weight], Field(min_length=1, max_length=MAX_PICKED)]

    @pydantic.model_validator(mode="after")
    def check_weights(self) -> "Blend":
        """Requires one weight per face, and a weight above 0."""
        if len(self.face) != len(self.weight):
            raise ValueError(f"expected as many weights as faces; found {len(self.weight)} for {len(self.face)}")
        if not any(self.weight):
            raise ValueError("expected a weight above 0; found none; raise one of them")
        return self


class Mix(Request):
    """Style mixing: the styles of the first layers from one face, of the remaining layers from a second."""

    face: Annotated[list[Face], Field(min_length=2, max_length=2)]
    layer: Annotated[int, Field(ge=0, le=64, description="the first layer with the second face's style")]


class Walk(Request):
    """A closed walk through faces."""

    face: Annotated[list[Face], Field(min_length=2, max_length=MAX_PICKED)]
    frames: Annotated[int, Field(ge=2, le=48, description="frames from each face to the next")] = 20


class Move(Request):
    """A face moved along the generator's directions."""

    face: Face
    amount: Annotated[
        list[Amount], Field(min_length=1, max_length=COUNT + MOST, description="along each direction, in standard deviations; labels' last")
    ]


class Previews(Request):
    """A face moved along each direction separately, from -3 to 3 standard deviations."""

    face: Face


ADVICE = {
    "seed": f"Enter a whole number from 0 to {HIGHEST_SEED:,} as the seed.",
    "count": f"Choose from 1 to {MOST_FACES} faces.",
    "truncation": "Choose a truncation from 0.05 to 1.5.",
    "frames": "Choose from 2 to 48 frames.",
    "label": "Choose labels from the list.",
    "face": "Choose a face of this generator.",
}


def advise(problems: Sequence[Any]) -> str:
    """Returns pydantic's first error as advice on what to enter."""
    return ADVICE.get(str(problems[0]["loc"][0]) if problems[0]["loc"] else "", explain(problems))


def explain(problems: Sequence[Any]) -> str:
    """Returns pydantic's errors in one line: expected, found, what to do."""
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"] if part not in ("query", "body")) or "the request"
    found = printable(repr(first.get("input")))[:60]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"expected {field}: {first['msg'][:1].lower()}{first['msg'][1:]}; found {found}{more}; change it"
