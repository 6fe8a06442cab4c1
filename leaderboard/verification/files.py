"""Reading a folder that somebody else filled: nothing outside it is opened, nothing can block.

Every folder and file is opened relative to the open folder that holds it and never through a
link, so a path cannot lead out, also if it is changed meanwhile.
"""

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from driftboard.suite.submissions import FOLDERS, MOST_FILES, Kind, kind_of

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


class FolderReader:
    """Yields the files of a submission's folder; ``problems`` says what was not read, and why."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = folder
        self._files = 0
        self._bytes = 0
        self._full = False

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Yield path below the folder, with ``/``, and content of every file that may be there."""
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
