"""``driftboard new`` and ``driftboard check``: begin a strategy of your own, and check it."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from driftboard.suite.errors import DriftboardError, one_line


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
    from driftboard.suite.checks import check_strategy

    results = check_strategy(strategy)
    for result in results:
        typer.echo(f"{result.status:<11} {result.name:<14} {one_line(result.message)}")
    failed = [result for result in results if result.status == "FAILED"]
    if failed:
        left = sum(result.status == "not reached" for result in results)
        raise DriftboardError(
            f"{len(failed)} of {len(results)} checks failed, {left} were not reached; mend what "
            "failed and check again"
        ) from next((result.error for result in failed if result.error), None)
