"""Resolves ``data.path``."""

from pathlib import Path

from facegan.common.errors import FaceganError, printable


def find_given(path: str, home: Path, kind: str) -> Path:
    """Returns the absolute path of the file or folder in ``data.path``.

    Args:
        home: where a relative path starts.
        kind: the expected kind, for the error message: "a zip file".

    Raises:
        FaceganError: the path is invalid, or does not exist.
    """
    try:
        place = home / Path(path).expanduser()
        place.stat()
    except FileNotFoundError:
        hint = "check the spelling" if Path(path).is_absolute() else "a relative path starts at the project folder"
        raise FaceganError(f"data.path: expected {kind} at {printable(str(place))}; found none; {hint}") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: ~name of an unknown user; ValueError: a NUL character
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise FaceganError(f"data.path: expected {kind} at {printable(path)}; found: {reason}; correct data.path") from None
    return place.resolve()
