"""What all commands that train share: a progress bar, Ctrl-C, and the end after a failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftboard.suite.errors import one_line
from driftboard.suite.runs.backend import Backend, ProgressBar

if TYPE_CHECKING:
    from driftboard.suite.runs.request import Request


def run_jobs(backend: Backend, request: "Request", what: str) -> list[str]:
    """Do what ``Backend.run_jobs`` does, with a progress bar on standard error.

    Raises:
        typer.Exit: stopped by Ctrl-C; a line has said how to go on.
        DriftboardError: as ``Backend.run_jobs``.
    """
    with handle_interrupt(request.results), ProgressBar() as bar:
        return backend.run_jobs(request, what, bar)


@contextmanager
def handle_interrupt(results: Path) -> Iterator[None]:
    """Let Ctrl-C within the block end in a line on how to go on.

    Raises:
        typer.Exit: it was.
    """
    try:
        yield
    except KeyboardInterrupt:
        from rich.console import Console

        Console(stderr=True).print(
            f"stopped; what is done is kept in {results}: the same command goes on from there",
            highlight=False,
            markup=False,
        )
        raise typer.Exit(130) from None


def exit_on_failure(lines: list[str]) -> None:
    """Print the lines of jobs that failed, and leave with 1 if there are any.

    Raises:
        typer.Exit: there are.
    """
    for line in lines:
        typer.echo(f"driftboard: failed: {one_line(line)}", err=True)
    if lines:
        raise typer.Exit(1)
