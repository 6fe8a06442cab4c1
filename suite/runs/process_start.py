"""How worker processes of this machine begin: as copies of a server that has imported torch.

To import torch takes seconds. The server does so once for all workers, while the command itself
still does; a copy is there at once, and ends at once. The server does nothing else, so there is no
thread (OpenBLAS ends its own before a fork) and no half-changed state that a copy could inherit.
Where it cannot be had, and elsewhere than on Linux, where libraries do not all survive being
copied, every worker is an interpreter of its own.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext


def worker_context() -> BaseContext:
    """Return what starts worker processes; ``interrupts_blocked`` is to be around their start."""
    return multiprocessing.get_context("forkserver" if start_server() else "spawn")


def start_server() -> bool:
    """Start the server unless it runs, without waiting for it; return whether there is one."""
    if sys.platform != "linux":
        return False
    forkserver.set_forkserver_preload(["driftboard.suite.runs.local_crew"])
    resource_tracker.ensure_running()  # if the server's start did it, it would end the block
    try:
        with interrupts_blocked():
            forkserver.ensure_running()
    except OSError:  # the path of its socket, in the folder for temporary files, may be too long
        return False
    return True


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C in this block and, for good, in the processes that it starts.

    Ctrl-C reaches every process of the terminal; only the one that commands decides what it
    means. The others inherit the blocked signal, so that it holds while they still import.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def take_environment(variables: Mapping[str, str]) -> None:
    """Give this process just these environment variables, not those of the server's start."""
    os.environ.clear()
    os.environ.update(variables)
