"""The one kind of error that a user can mend."""

FIRST_CHARACTERS, LAST_CHARACTERS = 1500, 500  # of a line; what is left out is foreign, the remedy stands at the end


class FaceganError(Exception):
    """Bad input, told in one line: what was expected, what was found, and what to do.

    Stage scripts print it without a traceback and exit with 1 (``--debug`` shows the traceback). Whatever foreign text stands in a line,
    it stays one line, which a terminal shows and does nothing else, and of a length that people read.
    """

    def __init__(self, *lines: str):
        super().__init__("\n".join(map(shorten, map(printable, lines))))


def shorten(line: str) -> str:
    """Returns a line without the middle part of one that is too long."""
    return line if len(line) <= FIRST_CHARACTERS + LAST_CHARACTERS else f"{line[:FIRST_CHARACTERS]} … {line[-LAST_CHARACTERS:]}"


def printable(text: str) -> str:
    """Returns foreign text (a file's name, an archive's) so that a terminal shows it and does nothing else.

    Control characters, escape codes and newlines among them, and bytes that are no Unicode appear as ``\\x1b``.
    """
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
