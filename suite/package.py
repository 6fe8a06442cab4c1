"""The installed package: the digest of its code, and how processes import it from where we do."""

import functools
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

ROOMS = ("strategies", "suite", "leaderboard", "baselines")


@functools.cache
def package_digest() -> str:
    """Return the SHA-256 digest of the package's code, as this process imports it.

    Two processes whose digests are equal run the same code, wherever each has it from: a wheel,
    a checkout or links to one. It is computed once, so a later change of a file does not count.
    """
    digest = hashlib.sha256()
    for name, path in _modules():
        digest.update(f"{name}\n{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _modules() -> Iterator[tuple[str, Path]]:
    """Yield every module's file under a name that does not depend on where it is installed."""
    top = _home()
    yield from ((path.name, path) for path in sorted(top.glob("*.py")))
    for room in ROOMS:
        home = Path(import_module(f"driftboard.{room}").__path__[0])
        paths = {path.relative_to(home).as_posix(): path for path in home.rglob("*.py")}
        # In a checkout the modules of ``driftboard`` itself lie below the room.
        own = {name: path for name, path in paths.items() if path.parent != top}
        yield from ((f"{room}/{name}", own[name]) for name in sorted(own))


def import_variables() -> dict[str, str]:
    """Return environment variables with which a new Python imports from where this one does.

    Without them it would look into the current folder first, and take whatever package, or module
    of the name of a library's, lies there.
    """
    home = _home()
    missing = home.name == "driftboard" and str(home.parent) not in sys.path
    # An empty name is the current folder of this moment, which need not be that of the import.
    here = [str(home.parent)] if missing else []
    folders = [each for folder in sys.path for each in ([folder] if folder else here)]
    usable = [each for each in folders if isinstance(each, str) and os.pathsep not in each]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(usable)}


def _home() -> Path:
    """Return the folder of the package ``driftboard``."""
    return Path(sys.modules["driftboard"].__path__[0])


@contextmanager
def importing_as_here() -> Iterator[None]:
    """Let the processes that this block starts import from where this one does."""
    variables = import_variables()
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
