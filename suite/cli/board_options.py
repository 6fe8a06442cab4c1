"""Options that several commands of this room share."""

from typing import Annotated

import typer

PublishedSets = Annotated[
    list[str] | None,
    typer.Option(
        "--published",
        help="Published records to take in as well; 'driftboard reproduce --list' names them.",
    ),
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Leave out broken records and count them.")
]
