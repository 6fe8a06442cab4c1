"""Reading a folder that somebody else filled: nothing outside it is opened, nothing can block.

Every folder and file is opened relative to the open folder that holds it and never through a
link, so no path leads out, even if the folder is changed meanwhile. What the files hold becomes a
checked value, or one clear reason why it cannot.
"""

import codecs
import json
import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from driftboard.suite.errors import RecordError
from driftboard.suite.submissions import FOLDERS, MOST_FILES, Kind, explained, kind_of

LARGEST: dict[Kind, int] = {
    "submission": 2_000_000,  # as many files as there may be, by name and digest
    "marker": 10_000,
    "source": 200_000,
    "tuning": 1_000_000,
    "record": 1_000_000,
}
LARGEST_IN_ALL = 200_000_000

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a named pipe would wait for its other end.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

_MARKS = {
    codecs.BOM_UTF8: "it begins with a byte order mark",
    codecs.BOM_UTF32_LE: "it is UTF-32",
    codecs.BOM_UTF16_LE: "it is UTF-16",
    codecs.BOM_UTF16_BE: "it is UTF-16",
}
_HIDDEN = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)


class FolderReader:
    """Reads the files of a submission's folder; ``problems`` says what was not read, and why."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = folder
        self._files = 0
        self._bytes = 0
        self._full = False

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield the path below the folder, with ``/``, and the content of every file allowed."""
        try:
            root = os.open(self._folder, _FOLDER)
        except OSError as error:
            reason = "it is a link" if self._folder.is_symlink() else error.strerror
            self.problems.append(f"{self._folder} is no folder that can be read: {reason}")
            return
        try:
            yield from self._walk(root, "")
        finally:
            os.close(root)

    def _walk(self, folder: int, above: str) -> Iterator[tuple[str, bytes]]:
        for name in self._names(folder, above):
            place = f"{above}{name}"
            try:
                mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    if self._is_expected(place, FOLDERS.fullmatch(place) is not None, "folder"):
                        yield from self._descend(folder, name, place)
                elif not stat.S_ISREG(mode):
                    self.problems.append(f"{place} is {_oddity(mode)}")
                else:
                    kind = kind_of(place)
                    if self._is_expected(place, kind is not None, "file") and kind is not None:
                        content = self._content(folder, name, place, LARGEST[kind])
                        if content is not None:
                            yield place, content
            except OSError as error:
                self.problems.append(f"{place} cannot be read: {error.strerror}")
            if self._full:
                return

    def _names(self, folder: int, above: str) -> list[str]:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MOST_FILES + 2)]
        if len(names) > MOST_FILES + 1:
            self._stop(f"{above or 'the folder'} holds more than {MOST_FILES} entries")
            return []
        return sorted(names)

    def _descend(self, above: int, name: str, place: str) -> Iterator[tuple[str, bytes]]:
        folder = os.open(name, _FOLDER, dir_fd=above)
        try:
            yield from self._walk(folder, f"{place}/")
        finally:
            os.close(folder)

    def _content(self, folder: int, name: str, place: str, limit: int) -> bytes | None:
        with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                self.problems.append(f"{place} is {_oddity(found.st_mode)}")
                return None
            if found.st_nlink != 1:
                self.problems.append(f"{place} is a hard link to another file")
                return None
            content = file.read(limit + 1)
        self._files += 1
        self._bytes += len(content)
        if len(content) > limit:
            self.problems.append(f"{place} has more than {limit} bytes")
            return None
        if self._files > MOST_FILES + 1 or self._bytes > LARGEST_IN_ALL:
            self._stop(f"there are more than {MOST_FILES} files or {LARGEST_IN_ALL} bytes")
            return None
        return content

    def _is_expected(self, place: str, expected: bool, what: str) -> bool:
        if not expected:
            self.problems.append(f"{place} is no {what} of a submission")
        return expected

    def _stop(self, why: str) -> None:
        self.problems.append(f"{why}, the rest was not read")
        self._full = True


def _oddity(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a named pipe" if stat.S_ISFIFO(mode) else "no plain file"


def decode(content: bytes, kind: Any) -> Any:
    """Return the value of type ``kind`` in a JSON document.

    >>> decode(b'{"a": 1}', dict)
    {'a': 1}

    Raises:
        RecordError: it is not UTF-8, no JSON, nested too deeply, names a field twice, holds NaN
            or infinity, or does not fit the type; the message is the reason alone.
    """
    for mark, reason in _MARKS.items():
        if content.startswith(mark):
            raise RecordError(f"{reason}, not plain UTF-8")
    try:
        text = content.decode("utf-8")
        # msgspec takes the last of two fields of one name, other readers the first.
        json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
        return msgspec.json.decode(content, type=kind)
    except UnicodeDecodeError as error:
        raise RecordError(f"it is not UTF-8 from byte {error.start} on") from error
    except RecursionError as error:
        raise RecordError("it is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise RecordError(f"it is no JSON: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise RecordError(explained(error)) from error


def check_source(content: bytes) -> None:
    """Check that a source is text that shows all it holds.

    Raises:
        RecordError: it is not UTF-8, or holds control or bidirectional characters, with which a
            line looks different from what Python reads; the message is the reason alone.
    """
    try:
        hidden = _HIDDEN.search(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RecordError(f"it is not UTF-8 from byte {error.start} on") from error
    if hidden:
        raise RecordError(f"it holds the hidden character U+{ord(hidden[0]):04X}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise RecordError(f"it names the field '{name[:64]}' twice")
        fields[name] = value
    return fields


def _refuse(constant: str) -> NoReturn:
    raise RecordError(f"it holds {constant}, which JSON does not know")
