"""Confining this process by Linux's Landlock: it can then write below some folders only.

Needs no rights and cannot be undone, by the process or what it starts. Reading stays possible
everywhere. See landlock(7); the numbers are those of ``linux/landlock.h``.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_QUERY_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
_TCP = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract sockets and signals to others, since version 6


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_version() -> int:
    """Return the version of Landlock that the kernel offers, 0 for none."""
    if sys.platform != "linux":
        return 0
    found = _call(_CREATE_RULESET, None, 0, _QUERY_VERSION)
    return max(found, 0)


def confine_writes(writable: Iterable[Path]) -> bool:
    """Let this process write below the given paths only; True if the kernel does so.

    From version 4 on it also refuses TCP connections, from version 6 on signals to processes
    outside.

    Raises:
        OSError: a path does not exist, or the kernel refuses.
    """
    version = landlock_version()
    if version == 0:
        return False
    access = _WRITE_FILE | _REMOVE_AND_MAKE
    access |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rules = _Ruleset(access, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    ruleset = _checked(_call(_CREATE_RULESET, ctypes.byref(rules), _size(version), 0))
    for path in writable:
        _allow(ruleset, path, access)
    _checked(_library().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _checked(_call(_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)
    return True


def _size(version: int) -> int:
    """Return how much of the structure this version of the kernel knows."""
    fields = 3 if version >= 6 else 2 if version >= 4 else 1
    return fields * ctypes.sizeof(ctypes.c_uint64)


def _allow(ruleset: int, path: Path, access: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        of_files = access & (_WRITE_FILE | _TRUNCATE)
        rule = _PathBeneath(access if path.is_dir() else of_files, handle)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(handle)


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(*arguments: object) -> int:
    return int(_library().syscall(*arguments))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
