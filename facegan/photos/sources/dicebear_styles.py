"""Faces in the styles of DiceBear (dicebear.com), whose parts and colours become labels.

Each style has its own artist and licence. The packages are optional: dicebear-core (MIT) draws, dicebear-styles contains the styles.
"""

import functools
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Any

from facegan.common.errors import FaceganError

PACKAGE = "dicebear_styles"


def check_styles(names: Iterable[str]) -> None:
    """Raises FaceganError if the packages are not installed or have no style of a name."""
    try:
        import dicebear  # noqa: F401 (only whether it is installed)

        known = {file.name.removesuffix(".json") for file in files(PACKAGE).iterdir() if file.name.endswith(".json")}
    except ImportError:
        problem = "data.style: expected the packages dicebear-core and dicebear-styles; found none"
        raise FaceganError(f"{problem}; run: pip install dicebear-core dicebear-styles") from None
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FaceganError(
            f"data.style: expected names of DiceBear styles; found {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )


@functools.cache
def read_style(name: str) -> tuple[Any, dict[str, Any]]:
    """Returns a style and its definition."""
    from dicebear import Style

    definition = json.loads(files(PACKAGE).joinpath(f"{name}.json").read_text("utf-8"))
    return Style(definition), definition


def describe_licenses(names: Iterable[str]) -> str:
    """Returns each style's artist and licence, as the manifest and the model card state it."""
    credits = [(name, read_style(name)[1]["meta"]) for name in names]
    return "drawn by DiceBear: " + "; ".join(f"{name} by {meta['creator']['name']}, {meta['license']['name']}" for name, meta in credits)


def draw_style(draw: random.Random, names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Returns a face of one of the styles as SVG, with its style, parts and colours by the names of the labels."""
    from dicebear import Avatar

    name = draw.choice(names)
    style, definition = read_style(name)
    drawn = Avatar(style, {"seed": f"{draw.getrandbits(64):016x}"}).to_json()
    shown = {"style": name} | dict.fromkeys(definition["components"], "none")  # a part that this face does not have
    for option, value in drawn["options"].items():
        if option.endswith("Variant"):
            shown[option.removesuffix("Variant")] = value
        elif option.endswith("Color") and len(value) == 1:
            shown[option] = value[0]
    return drawn["svg"], shown


def list_labels(faces: Sequence[dict[str, str]]) -> Iterator[list[str]]:
    """Yields the columns and each face's values; a value is empty if the face's style has no such part."""
    columns = list(dict.fromkeys(name for face in faces for name in face))
    columns = [name for name in columns if len({face.get(name, "") for face in faces} - {"", "none"}) > 1 or name == "style"]
    yield columns
    for face in faces:
        yield [face.get(name, "") for name in columns]
