"""Run as ``python -m driftboard.suite.sandbox.launch FOLDER BYTES SECONDS PROGRAM...``.

Limits this process, then becomes the program: the first step of ``process.py``. Exit
code 97 says that the limits could not be set, and nothing was run.
"""

import os
import resource
import sys
from pathlib import Path

from driftboard.suite.sandbox.landlock import confine_writes

REFUSED = 97
ADDRESS_SPACE_SLACK = 16 * 2**30  # libraries map far more than they use
LARGEST_FILE = 2**28


def main() -> None:
    """Set the limits and replace this process by the program."""
    folder, memory, seconds, *program = sys.argv[1:]
    try:
        _limit(resource.RLIMIT_AS, int(memory) + ADDRESS_SPACE_SLACK)
        _limit(resource.RLIMIT_CPU, 64 * int(seconds))
        _limit(resource.RLIMIT_FSIZE, LARGEST_FILE)
        _limit(resource.RLIMIT_CORE, 0)
        confine_writes([Path(folder), Path(os.devnull)])
    except (OSError, ValueError) as error:
        print(f"cannot set the limits: {error}", file=sys.stderr)
        sys.exit(REFUSED)
    os.execvp(program[0], program)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (allowed, allowed))


if __name__ == "__main__":
    main()
