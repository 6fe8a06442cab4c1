"""Which device is taken, and malloc, counted in page faults."""

import platform
import subprocess
import sys

import pytest

from driftboard.suite.errors import DriftboardError
from driftboard.suite.training import memory_plan
from driftboard.suite.training.memory_plan import resolve_device

# Freed memory. Every page fault is a page that the system had to zero again.

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

MEGABYTES = 48
"""More than the 32 below which glibc may learn to keep a block by itself."""

PROGRAM = f"""
import resource, sys
from driftboard.suite.training.memory_plan import keep_freed_memory

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
    monkeypatch.setattr(memory_plan.ctypes, "CDLL", lambda name: object())
    memory_plan.keep_freed_memory()


def test_workers_on_a_cpu_keep_it(monkeypatch):
    from driftboard.suite.runs import worker

    done = []
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: done.append("memory"))
    monkeypatch.setattr(worker.torch, "set_num_threads", done.append)
    worker.prepare_process("cpu")
    assert done == [1, "memory"]


@pytest.mark.parametrize("there", [True, False])
def test_device_without_a_wish_is_cuda_where_it_is(monkeypatch, there):
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert resolve_device("auto") == ("cuda" if there else "cpu")
    assert resolve_device("cpu") == "cpu"


def test_cuda_has_to_be_there_when_wished_for(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert resolve_device("cuda") == "cuda"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(DriftboardError, match="use --device cpu"):
        resolve_device("cuda")
