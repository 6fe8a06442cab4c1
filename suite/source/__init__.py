"""What a strategy's source is: the files that hold its code, and a digest of that code.

To a source belong the file that a user names and all that it imports from elsewhere than the
standard library, installed packages and driftboard; ``modules.py`` finds and runs it. Records carry
the digest of ``code.py``, which tells the versions of a strategy apart; comments and the like make
no version. Files that the code opens as data belong to no source. Nothing here imports torch.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from driftboard.suite.source.code import code_digest, sha256

SUFFIX = ".py"


@dataclass(frozen=True)
class File:
    """One file of a source, as it was read.

    Args:
        name: relative to the source's folder, with ``/``; of a module from elsewhere, where the
            folder would have it.
        path: where it was read; tracebacks name it.
        content: its bytes.
    """

    name: str
    path: str
    content: bytes


@dataclass(frozen=True)
class Source:
    """The code of a strategy or of a user's sequences, as it was read.

    Args:
        files: sorted by name.
        main: the name of the file that was asked for; empty for a class of a Python session.
        text: what else the code is, where no file holds it.
    """

    files: tuple[File, ...] = ()
    main: str = ""
    text: str = ""

    @property
    def path(self) -> str:
        """Where the main file was read."""
        return next(file.path for file in self.files if file.name == self.main)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all files."""
        return tuple(file.name for file in self.files)

    @property
    def digest(self) -> str:
        """The digest of all code; another name of a single file does not change it."""
        code = digest_of({file.name: file.content for file in self.files})
        return sha256(f"{self.text}\0{code if self.files else ''}") if self.text else code


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the digest of the code of files by name: of one its own, of several of all together.

    >>> digest_of({"a.py": b"x = 1  # one"}) == digest_of({"b.py": b"x = 1"})
    True
    """
    digests = {name: file_digest(name, content) for name, content in files.items()}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return sha256("".join(f"{name}\0{digests[name]}\n" for name in sorted(digests)))


def file_digest(name: str, content: bytes) -> str:
    """Return the digest of a file's code; of a compiled module, of its bytes."""
    is_text = name.endswith(SUFFIX)
    return code_digest(content) if is_text else hashlib.sha256(content).hexdigest()
