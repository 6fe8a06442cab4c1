"""Freed memory is kept: counted in page faults, each of which is a page taken anew."""

import platform
import subprocess
import sys

import pytest

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

MEGABYTES = 48
"""More than the 32 below which glibc may learn to keep a block by itself."""

PROGRAM = f"""
import resource, sys
from driftboard.suite.training.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for step in range(6):
    if step == 1:  # what is kept is kept from here on
        before = faults()
    block = bytearray(b"1") * ({MEGABYTES} << 20)
    del block
print((faults() - before) * resource.getpagesize())
"""


def bytes_taken_anew(how):
    command = [sys.executable, "-c", PROGRAM, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@needs_glibc
def test_what_is_freed_is_kept_for_the_next_step():
    assert bytes_taken_anew("as it is") > 4 * MEGABYTES << 20
    assert bytes_taken_anew("kept") < 1 << 20


def test_a_c_library_without_the_setting_is_left_as_it_is(monkeypatch):
    import ctypes

    from driftboard.suite.training import heap

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    heap.keep_freed_memory()


def test_workers_on_a_cpu_keep_it(monkeypatch):
    from driftboard.suite.runs import worker

    done = []
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: done.append("memory"))
    monkeypatch.setattr(worker.torch, "set_num_threads", done.append)
    worker.prepare_process("cpu")
    assert done == [1, "memory"]
