"""What one check found."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Result:
    """One line of ``driftboard check``."""

    name: str
    status: Literal["ok", "warning", "FAILED"]
    message: str  # what was found and, unless it is ok, what to do


def any_failed(results: Iterable[Result]) -> bool:
    """Tell whether one of the results is a failure."""
    return any(result.status == "FAILED" for result in results)
