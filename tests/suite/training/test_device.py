"""The name of a device, from texts as Linux writes them, and malloc, counted in page faults."""

import platform
import subprocess
import sys

import pytest
import torch

from driftboard.suite.training import device

CPU = torch.device("cpu")
INFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: Some   Processor @ 2 GHz

processor\t: 1
cpu family\t: 7
model\t\t: 8
model name\t: Another
"""


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Return the name of the CPU on a system whose file says this."""

    def name(info):
        file = tmp_path / "cpuinfo"
        if info is not None:
            file.write_text(info)
        monkeypatch.setattr(device, "CPU_INFO", file)
        monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(device.torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        monkeypatch.setattr(device.torch, "get_num_threads", lambda: 3)
        return device.device_name(CPU)

    return name


def test_a_processor_is_named_with_family_model_and_instructions(named):
    expected = "x86_64 CPU (Some Processor @ 2 GHz, family 25, model 1, AVX2), 3 thread(s)"
    assert named(INFO) == expected


@pytest.mark.parametrize("info", [None, "", "processor\t: 0\nmodel name\t:\n", "Hardware\t: X\n"])
def test_a_system_that_does_not_say_leaves_the_name_out(named, info):
    assert named(info) == "x86_64 CPU, 3 thread(s)"


def test_a_name_without_end_is_cut(named):
    name = named(INFO.replace("Some", "S" * 1000))
    assert len(name) < 200
    assert name.endswith("family 25, model 1, AVX2), 3 thread(s)")


# Freed memory. Every page fault is a page that the system had to zero again.

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")

MEGABYTES = 48
"""More than the 32 below which glibc may learn to keep a block by itself."""

PROGRAM = f"""
import resource, sys
from driftboard.suite.training.device import keep_freed_memory

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
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: object())
    device.keep_freed_memory()


def test_workers_on_a_cpu_keep_it(monkeypatch):
    from driftboard.suite.runs import worker

    done = []
    monkeypatch.setattr(worker, "keep_freed_memory", lambda: done.append("memory"))
    monkeypatch.setattr(worker.torch, "set_num_threads", done.append)
    worker.prepare_process("cpu")
    assert done == [1, "memory"]
