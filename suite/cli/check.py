"""``driftboard check``: find the usual mistakes in a strategy, in seconds."""

from typing import Annotated

import typer

from driftboard.suite.errors import DriftboardError, one_line


def check(
    strategy: Annotated[
        str,
        typer.Argument(help="NAME, FILE.py or FILE.py:CLASS, each also with ',parameter=value'."),
    ],
) -> None:
    """Check a strategy of your own on a tiny sequence: one line per check, a matter of seconds.

    Nothing is downloaded and nothing written. The exit code is 1 if a check failed; a warning
    is something to look at.
    """
    from driftboard.suite.checks import check_strategy

    results = check_strategy(strategy)
    for result in results:
        typer.echo(f"{result.status:<8} {result.name:<14} {one_line(result.message)}")
    failed = sum(result.status == "FAILED" for result in results)
    if failed:
        raise DriftboardError(
            f"{failed} of {len(results)} checks failed; mend what they name and check again, "
            "for what comes after them was left out"
        )
