"""What a speed depends on: processor, device, versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch


def circumstances(threads: int, repeats: int) -> dict[str, str]:
    """Return hardware, versions and settings by name."""
    return {
        "CPU": f"{cpu_model()}, {os.cpu_count()} cores",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads": str(threads),
        "repeats": str(repeats),
        "Python": platform.python_version(),
        "torch": str(torch.__version__),
        "driftboard": version("driftboard"),
    }


def installed(package: str) -> str:
    """Return a package's version, 'unknown' where it runs from its sources."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def cpu_model() -> str:
    """Return the processor's name as its maker gives it, where the system tells."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
