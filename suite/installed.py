"""Telling a user's code from that of Python, of installed packages and of driftboard.

Tracebacks quote a line of the user's, and what belongs to a source is found by the same rule.
"""

import sys
import sysconfig
from pathlib import Path

SHARED = ("driftboard", "numpy", "torch", "torchvision")
"""What a user's code shares with the engine, wherever it is installed."""

_STANDARD = sysconfig.get_path("stdlib")


def is_installed(name: str, file: str) -> bool:
    """Tell whether a module is of Python, of an installed package or of ours.

    >>> is_installed("json", "/usr/lib/json.py"), is_installed("helpers", "/home/me/helpers.py")
    (True, False)
    """
    path = Path(file)
    return (
        name.partition(".")[0] in sys.stdlib_module_names.union(SHARED)
        or not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        or path.is_relative_to(_STANDARD)
    )
