"""The errors that a user can cause; the command line prints each as one line."""


class DriftboardError(Exception):
    """Something a user can mend; its message says what is wrong, where, and what to do."""


class DataError(DriftboardError):
    """A data set is missing, incomplete or not in the expected format."""


class RecordError(DriftboardError):
    """A record or a results folder is broken, foreign or of another protocol."""


class StrategyError(DriftboardError):
    """A strategy cannot be loaded, or one of its hooks breaks the interface."""


def one_line(text: str) -> str:
    """Return ``text`` on one line, what a terminal would not show or obey written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in " ".join(text.split())
    )
