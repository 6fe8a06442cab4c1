"""Limits this process, then becomes a program: what ``process.py`` starts.

Run as ``python -m driftboard.suite.sandbox.launch FOLDER BYTES SECONDS PROGRAM...``. Exit code 97
means that the limits could not be set and the program was not run.

Writes are confined by Linux's Landlock, which needs no privileges and cannot be undone, neither
by the process nor by its children. Reading stays possible everywhere. See landlock(7); the
constants are those of ``linux/landlock.h``.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

REFUSED = 97
ADDRESS_SPACE_SLACK = 16 * 2**30  # libraries map far more than they use
LARGEST_FILE = 2**28

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_QUERY_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE = 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14  # since versions 2 and 3
_TCP = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract sockets and signals to others, since version 6


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
    """Return the version of Landlock that the kernel offers, 0 if it has none."""
    if sys.platform != "linux":
        return 0
    found = _call(_CREATE_RULESET, None, 0, _QUERY_VERSION)
    return max(found, 0)


def confine_writes(writable: Iterable[Path]) -> bool:
    """Let this process write below the given paths only; return whether the kernel can do so.

    From version 4 on Landlock also denies TCP connections, from version 6 on signals to other
    processes.

    Raises:
        OSError: a path does not exist, or a system call fails.
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
    """Return how many bytes of the structure this version of the kernel knows."""
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


if __name__ == "__main__":
    main()
