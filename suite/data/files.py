"""Files of data sets: read packed or not, written whole or not at all, and what to say of them."""

import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driftboard.suite.errors import DataError

NAME_THE_FOLDER = "name the folder that has it with --data or DRIFTBOARD_DATA"


def remedy(commands: list[str]) -> str:
    """Return what a user can do about data that ``commands`` would bring."""
    return ", or ".join([*(f"run '{command}'" for command in commands), NAME_THE_FOLDER])


def broken(path: Path, why: str, remedy: str) -> DataError:
    """Return the error that says why ``path`` is not usable and what to do."""
    return DataError(f"{path} {why}; replace it: {remedy}")


def one_line(error: BaseException) -> str:
    """Return an error's message as one short line, or its kind if it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def present_file(path: Path) -> Path | None:
    """Return ``path`` if it is a file, else ``path`` with .gz if that is one, else None."""
    packed = path.with_name(f"{path.name}.gz")
    return next((candidate for candidate in (path, packed) if candidate.is_file()), None)


def read_unpacked(path: Path) -> bytes:
    """Return the content of ``path``, unpacked if its name ends in .gz.

    Raises:
        DataError: the file cannot be read or unpacked.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"cannot read {path}: {one_line(error)}; replace it with a complete copy"
        ) from error


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield an empty folder inside ``folder`` that is gone afterwards, whatever happens.

    What is complete is moved out of it by ``Path.replace``, so that ``folder`` never shows half
    a file. Any OSError within becomes a DataError that says ``folder`` cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".driftboard-") as stage:
            yield Path(stage)
    except OSError as error:
        raise DataError(
            f"cannot write in {folder}: {error.strerror or error}; free some space, or choose a "
            "folder you can write to with --data or DRIFTBOARD_DATA"
        ) from error
