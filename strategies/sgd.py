"""Plain training: every task moves every block fully."""

from dataclasses import dataclass
from typing import ClassVar

from driftboard.strategies.base import Strategy


@dataclass(frozen=True)
class Sgd(Strategy):
    """Train everything on every task and protect nothing.

    Not one of the paper's strategies (arXiv 2602.20796): it is the usual reference of the field,
    often called naive or fine-tuning. It differs from ``initialized`` in that nothing restarts.
    """

    name: ClassVar[str] = "sgd"
    summary: ClassVar[str] = "Every block continues from the last solution and trains fully."
    literature: ClassVar[str] = "Fine-tuning, the reference of the field"
