"""The program that runs cells of a submission again: how it ends where the strategy fails."""

import subprocess
import sys

SOURCE = """
from dataclasses import dataclass
from typing import ClassVar
from driftboard.strategies import Strategy

@dataclass(frozen=True)
class Mine(Strategy):
    name: ClassVar[str] = "mine"

    def begin(self, task, parameters, memory):
        return 1 / 0, memory
"""


def test_the_last_line_quotes_the_line_that_failed(tmp_path):
    (tmp_path / "mine.py").write_text(SOURCE)
    program = [sys.executable, "-m", "driftboard.suite.sandbox.run_cells"]
    words = ["mine.py", "out", "1", "linear-fewshot-50"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    *trace, last = done.stderr.splitlines()
    assert last == (
        "strategy 'mine': begin() raised ZeroDivisionError: division by zero (task 1); "
        "mine.py, line 11: return 1 / 0, memory"
    )
    assert trace[0] == "Traceback (most recent call last):"
    assert any('mine.py", line 11, in begin' in line for line in trace)
