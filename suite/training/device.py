"""The device that a run trains on: its name in records, its workers, and its malloc.

The last bits of a sum depend on the processor: on its vector instructions, and on the code that
libraries choose for it. So a record names a CPU as precisely as the system does.
"""

import ctypes
import os
import platform
from pathlib import Path

import torch

CPU_INFO = Path("/proc/cpuinfo")

# Parameters of mallopt(), from glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or the processor, instruction set and threads of a CPU.

    >>> "CPU" in device_name(torch.device("cpu"))
    True
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = _processor(CPU_INFO.read_text(errors="replace")) if CPU_INFO.exists() else None
    instructions = torch.backends.cpu.get_cpu_capability()
    detail = f" ({processor}, {instructions})" if processor else ""
    return f"{platform.machine()} CPU{detail}, {torch.get_num_threads()} thread(s)"


def _processor(info: str) -> str | None:
    """Return name, family and model from the text of Linux's ``cpuinfo``, if it has them.

    Virtual machines give one name to several processors; family and model tell them apart.
    """
    pairs = (line.partition(":") for line in info.splitlines())
    found: dict[str, str] = {}
    for field, _, value in pairs:
        found.setdefault(field.strip(), " ".join(value.split()))
    names = ("model name", "cpu family", "model")
    if not all(found.get(name) for name in names):
        return None
    name, family, model = (found[name][:100] for name in names)
    return f"{name}, family {family}, model {model}"


def worker_count(device: str, wanted: int | None) -> int:
    """Return how many worker processes to start: ``wanted``, else one per core, or one for CUDA.

    >>> worker_count("cuda", None), worker_count("cpu", 3)
    (1, 3)
    """
    if wanted is not None:
        return wanted
    if device == "cuda":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make malloc keep freed memory in this process; without glibc, do nothing.

    glibc returns large blocks to the operating system, which zeroes their pages before it hands
    them out again. A training step allocates and frees megabytes, and spends up to a quarter of
    its time on that (see SPEED.md). The peak memory of the process stays the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, -1)  # never return the top of the heap
        mallopt(M_MMAP_MAX, 0)  # never allocate a block outside of the heap
