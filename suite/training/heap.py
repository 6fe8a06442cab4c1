"""What the C library does with freed memory: keep it, since the next step needs as much again.

glibc hands large blocks back to the operating system and takes them anew, zeroed page by page. A
step that makes and drops megabytes spends up to a quarter of its time on that, see SPEED.md.
"""

import ctypes

# glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def keep_freed_memory() -> None:
    """Let this process keep what it frees, from now on; without glibc, do nothing.

    The most that the process has in use at one time stays the same.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None)
    if tune is not None:
        tune(M_TRIM_THRESHOLD, -1)  # the top of the heap is never given back
        tune(M_MMAP_MAX, 0)  # no block lies outside the heap
