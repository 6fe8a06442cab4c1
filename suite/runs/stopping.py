"""A stop by Ctrl-C; imports nothing that takes long, since one may come early."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console


@contextmanager
def stoppable(results: Path) -> Iterator[None]:
    """Let Ctrl-C within the block end in a line on how to go on.

    Raises:
        typer.Exit: it was.
    """
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True).print(
            f"stopped; what is done is kept in {results}: the same command goes on from there",
            highlight=False,
            markup=False,
        )
        raise typer.Exit(130) from None
