"""Errors that a user can cause, and the wording of messages. The command line prints one line each.

Everything imports this module, so it imports nothing of ours but what tells a user's code.
"""

import errno
import linecache
import traceback
from pathlib import Path

from driftboard.suite.installed import is_installed


class DriftboardError(Exception):
    """An error that a user can fix; its message says what is wrong, where, and what to do."""

    @property
    def lines(self) -> list[str]:
        """What the command line prints of it."""
        return [one_line(str(self))]


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
    return escaped(" ".join(text.split()))


def escaped(text: str) -> str:
    """Return ``text`` with escapes for unprintable and control characters but line breaks."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun; the plural, by default with an s, is for all but 1.

    >>> counted(1, "strategy", "strategies"), counted(2, "cell")
    ('1 strategy', '2 cells')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"


# What went wrong in somebody else's code, and where.

LONGEST_CAUSE, LONGEST_CODE = 300, 120


def cause_of(error: BaseException) -> str:
    """Return the kind of an error and the first line of its message.

    >>> cause_of(ValueError("no such block")), cause_of(KeyError())
    ('ValueError: no such block', 'KeyError')
    """
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # the class may be a user's own
        text = ""
    first = _cut(text.strip().partition("\n")[0], LONGEST_CAUSE)
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}..."


def place_of(error: BaseException) -> str:
    """Return ``; FILE, line N: CODE`` of the innermost line of a user's file, or nothing.

    Where no line of a user's raised it, the place is that of what caused it.
    """
    place = _of_syntax(error) if isinstance(error, SyntaxError) else None
    place = place or _innermost(error)
    if place is None:
        return place_of(error.__cause__) if error.__cause__ else ""
    file, line, code = place
    code = _cut(code.strip(), LONGEST_CODE)
    name = "cell" if is_cell(file) else Path(file).name
    return f"; {name}, line {line}" + (f": {code}" if code else "")


def _of_syntax(error: SyntaxError) -> tuple[str, int, str] | None:
    """Return file, line and code that an error of syntax names."""
    if not error.filename or not error.lineno or not _is_file(error.filename):
        return None
    return error.filename, error.lineno, error.text or ""


def _innermost(error: BaseException) -> tuple[str, int, str] | None:
    """Return file, line and code of the innermost frame that is in a user's file."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file, names = frame.f_code.co_filename, frame.f_globals
        if _is_file(file) and not is_installed(str(names.get("__name__")), file):
            linecache.checkcache(file)  # it may have changed since another error
            return file, line, linecache.getline(file, line, names)
    return None


def is_cell(file: str) -> bool:
    """Tell whether code came from a cell of a notebook, or from what was typed in a session."""
    return "ipykernel_" in file or file.startswith(("<ipython-input", "<python-input"))


def _is_file(file: str) -> bool:
    """Tell whether code came from a file or cell, and not from what ``@dataclass`` writes."""
    return is_cell(file) or not file.startswith("<")


# What the system refused, and what helps.

_REMEDIES = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "choose a folder that you may use, or have its permissions changed",
    errno.EPERM: "choose a folder that you may use, or have its permissions changed",
    errno.EROFS: "that file system is read-only; choose another folder",
    errno.EEXIST: "a file is where a folder is needed; move it away or choose another folder",
    errno.ENOTDIR: "a file is where a folder is needed; move it away or choose another folder",
    errno.EISDIR: "a folder is where a file is needed; move it away or choose another",
    errno.ENAMETOOLONG: "choose a shorter name or path",
    errno.ENOENT: "a folder is not there, or none can be made there; choose another",
}


def refusal_of(error: OSError) -> str:
    """Return what the system said where nothing could be written, and what to do about it.

    >>> refusal_of(OSError(errno.ENOSPC, "No space left on device"))
    'No space left on device; free some space or choose another folder'
    """
    said = error.strerror or str(error) or type(error).__name__
    return f"{said}; {_REMEDIES.get(error.errno or 0, 'choose another folder')}"
