"""The one kind of error that a user can mend."""


class FaceganError(Exception):
    """Bad input, told in one line: what was expected, what was found, and what to do.

    Stage scripts print it without a traceback and exit with 1 (``--debug`` shows the traceback).
    """


def printable(text: str) -> str:
    """Returns foreign text (a file's name, an archive's) so that a terminal shows it and does nothing else.

    Control characters, escape codes and newlines among them, and bytes that are no Unicode appear as ``\\x1b``.
    """
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode() for character in text)
