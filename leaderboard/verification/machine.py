"""Must two records of one cell agree in every count, or may their machines round differently?"""

import re

from driftboard.suite.records import Environment

_ANY_CPU = re.compile(r"\S+ CPU, \d+ thread\(s\)")
"""Names an architecture, not a processor, as on systems that do not say which one it is: others
have other vector instructions, and add up in another order."""


def same_machine(one: Environment, other: Environment) -> bool:
    """Tell whether version of torch, device and lane are the same, and the device is one by name.

    A CPU without the name of its processor never is: on another one of the same architecture
    every second cell has other counts, as ``tests/benchmarks/rerun_noise.py`` measures.
    """
    if _ANY_CPU.fullmatch(one.device):
        return False
    return (one.torch, one.device, one.lane) == (other.torch, other.device, other.lane)
