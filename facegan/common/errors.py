"""The one kind of error that a user can mend."""


class FaceganError(Exception):
    """Bad input, told in one line: what was expected, what was found, and what to do.

    Stage scripts print it without a traceback and exit with 1 (``--debug`` shows the traceback).
    """
