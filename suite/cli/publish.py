"""For maintainers: make the records of results folders a published set of the package.

    python -m driftboard.suite.cli.publish NAME RESULTS... --into baselines \\
        --command "driftboard run ..." --hardware "..." --reason "..."

writes the records as one archive, its hash into ``published.json`` and the reason, without which
nothing is published, into ``CHANGES.md``.
"""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from driftboard.baselines.published import publish_records
from driftboard.suite.records import Name, Text


def publish(
    name: str,
    results: list[Path],
    into: Annotated[Path, typer.Option(help="The folder baselines of a checkout.")],
    command: Annotated[str, typer.Option(help="What made the records.")],
    hardware: Annotated[str, typer.Option(help="What they were made on.")],
    reason: Annotated[str, typer.Option(help="Why; goes into the log.")],
) -> None:
    """Write archive, manifest and log."""
    for value, kind, hint in ((name, Name, "NAME"), (hardware, Text, "--hardware")):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise typer.BadParameter(str(error), param_hint=hint) from error
    publish_records(name, results, into, command, hardware, reason)


if __name__ == "__main__":
    typer.run(publish)
