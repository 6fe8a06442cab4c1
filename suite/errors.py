"""Errors that a user can cause, and the wording of messages. The command line prints one line each.

Everything imports this module, so it imports nothing.
"""


class DriftboardError(Exception):
    """An error that a user can fix; its message says what is wrong, where, and what to do."""


class DataError(DriftboardError):
    """A data set is missing, incomplete or not in the expected format."""


class RecordError(DriftboardError):
    """A record or a results folder is broken, not ours, or of another protocol."""


class StrategyError(DriftboardError):
    """A strategy cannot be loaded, or one of its hooks breaks the interface."""


def one_line(text: str) -> str:
    r"""Return ``text`` on one line, with unprintable and control characters as escapes.

    >>> one_line("two\nlines, \x1b[2J")
    'two lines, \\x1b[2J'
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in " ".join(text.split())
    )


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun; the plural, by default with an s, is for all but 1.

    >>> counted(1, "strategy", "strategies"), counted(2, "cell")
    ('1 strategy', '2 cells')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
