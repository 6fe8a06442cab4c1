"""Count the functions and files of the project that one run of one cell enters in its own process.

    python tests/studies/functions_entered.py

Runs ``driftboard run --sequence digits-split --strategy sgd --seeds 1 --workers 1`` with an empty
results folder, an empty cache and a hook on every call, and prints how many functions, in how many
files, the commanding process entered. Lambdas, comprehensions and the bodies of classes and modules
are left out, and workers are not counted.
"""

import inspect
import os
import sys
import threading
from importlib.metadata import entry_points
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

ROOMS = ("suite", "leaderboard", "strategies", "baselines")
COMMAND = ("run", "--sequence", "digits-split", "--strategy", "sgd", "--seeds", "1")


def count(arguments: tuple[str, ...]) -> set[tuple[str, int, str]]:
    """Run the program with ``arguments`` and return file, line and name of all that was entered."""
    from driftboard.suite import records

    suite = Path(records.__file__).parent
    folders = tuple(str(suite.parent / room) for room in ROOMS)
    entered = set()

    def hook(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        # The bodies of classes and modules, which run once at import, have no fast local variables.
        is_function = code.co_flags & inspect.CO_OPTIMIZED
        if event == "call" and is_function and code.co_filename.startswith(folders):
            entered.add((code.co_filename, code.co_firstlineno, code.co_name))

    (program,) = (one for one in entry_points(group="console_scripts") if one.name == "driftboard")
    sys.argv = ["driftboard", *arguments]
    threading.setprofile(hook)
    sys.setprofile(hook)
    try:
        program.load()()
    except SystemExit as left:
        if left.code:
            raise
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return {place for place in entered if not place[2].startswith("<")}


def main() -> None:
    """Print both numbers."""
    with TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        found = count((*COMMAND, "--workers", "1", "--out", f"{folder}/results"))
    files = {file for file, *_ in found}
    print(f"{len(found)} functions in {len(files)} files")


if __name__ == "__main__":
    main()
