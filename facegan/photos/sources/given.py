"""The place that ``data.path`` names."""

from pathlib import Path

from facegan.common.errors import FaceganError, printable


def find_given(path: str, home: Path, kind: str) -> Path:
    """Returns the absolute path of what a person named.

    Args:
        home: where a relative path starts.
        kind: what is expected there, for the error: "a zip file".

    Raises:
        FaceganError: there is nothing, or the path is none.
    """
    problem = f"data.path: expected {kind} at {printable(path)}"
    try:
        place = home / Path(path).expanduser()
        place.stat()
    except FileNotFoundError:
        hint = "a relative path starts at the project's folder" if not Path(path).is_absolute() else "look for a slip of the pen"
        raise FaceganError(f"data.path: expected {kind} at {printable(str(place))}; found none; {hint}") from None
    except OSError as error:
        raise FaceganError(f"{problem}; found: {error.strerror}; mend that, or choose another place") from None
    except RuntimeError:  # ~name of a user whom the system does not know, or ~ where it knows no home
        raise FaceganError(f"{problem}; found no home folder of that name; write the whole path") from None
    except ValueError as error:  # a NUL
        raise FaceganError(f"{problem}; found no path ({error}); mend data.path") from None
    return place.resolve()
