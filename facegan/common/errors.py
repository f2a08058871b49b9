"""The error that reports bad input and other problems that a user can fix."""

FIRST_CHARACTERS, LAST_CHARACTERS = 1500, 500  # kept of a long line; the end contains the remedy


class FaceganError(Exception):
    """A problem in one line: what was expected, what was found, and what to do.

    Stage scripts print it without a traceback and exit with status 1 (``--debug`` shows the traceback). Text from files may be part of a
    line: control characters are escaped, and long lines are shortened.
    """

    def __init__(self, *lines: str):
        super().__init__("\n".join(map(shorten, map(printable, lines))))


def shorten(line: str) -> str:
    """Returns a line without the middle part if it is too long."""
    return line if len(line) <= FIRST_CHARACTERS + LAST_CHARACTERS else f"{line[:FIRST_CHARACTERS]} … {line[-LAST_CHARACTERS:]}"


def printable(text: str) -> str:
    """Returns text from a file with everything escaped that a terminal would interpret, such as control characters and newlines.

    They and bytes that are not Unicode appear as ``\\x1b``.
    """
    if text.isprintable():  # a picture in a report is millions of characters
        return text
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
