"""``driftboard new`` and ``driftboard check``: begin a strategy of your own, and check it."""

import os
import shlex
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.runs.local import local_executor
from driftboard.suite.runs.scheduler import POLL_SECONDS, Refusal, Result, remote_cause


def new(
    name: Annotated[str, typer.Argument(help="The strategy's name on the board, as my-method.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to.")] = Path(),
) -> None:
    """Write a strategy that works, and a test of it: two files to start from.

    A file that is there already is never written over.
    """
    from driftboard.suite.checks.scaffold import write_scaffold

    strategy, test = write_scaffold(name, out)
    own, its_test = shlex.quote(str(strategy)), shlex.quote(str(test))
    for line in (
        f"wrote {strategy} and {test}",
        "next:",
        f"  driftboard check {own}",
        f"  python -m pytest {its_test}",
        f"  driftboard run --suite quick --strategy sgd --strategy {own}",
        f"  driftboard tune {own}",
    ):
        typer.echo(line)


def check(
    strategy: Annotated[
        str,
        typer.Argument(
            help="NAME, FILE.py, FOLDER, or one of these two with :CLASS, each also with "
            "',parameter=value'."
        ),
    ],
) -> None:
    """Check a strategy of your own on a tiny sequence: one line per check, a matter of seconds.

    Nothing is downloaded and nothing written. The exit code is 1 if a check failed; a warning
    is something to look at, and nothing is said of what was not reached.
    """
    checked = _in_process(_Checks(strategy, Path.cwd()))
    if isinstance(checked, Refusal):
        raise DriftboardError(checked.reason) from remote_cause([checked.trace])
    for one in checked:
        typer.echo(f"{one.status:<11} {one.name:<14} {one_line(one.message)}")
    failed = [one for one in checked if one.status == "FAILED"]
    if failed:
        left = sum(one.status == "not reached" for one in checked)
        raise DriftboardError(
            f"{len(failed)} of {len(checked)} checks failed, {left} were not reached; mend what "
            "failed and check again"
        ) from remote_cause(one.trace for one in failed)


@dataclass(frozen=True)
class _Checked:
    """A line of the output, and the traceback behind a failure."""

    status: str
    name: str
    message: str
    trace: str


@dataclass(frozen=True)
class _Checks:
    """All checks of a strategy, in a process of their own: its code may end the process."""

    label: str  # the strategy's specification
    folder: Path  # the current one, which its path may start from

    def measure(self, on_step: Callable[[], None]) -> list[_Checked]:
        """Run the checks."""
        from driftboard.suite.checks import check_strategy

        os.chdir(self.folder)
        return [
            _Checked(
                one.status,
                one.name,
                one.message,
                "".join(traceback.format_exception(one.error)) if one.error else "",
            )
            for one in check_strategy(self.label)
        ]


def _in_process(checks: _Checks) -> list[_Checked] | Refusal:
    """Return what the checks found in a worker process, or why it did not get through them."""
    with local_executor("cpu", 1) as executor:
        executor.submit(0, checks)
        while True:
            for report in executor.poll(POLL_SECONDS):
                if isinstance(report, Result):
                    return report.outcome
