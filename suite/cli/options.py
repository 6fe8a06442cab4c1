"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

SequenceFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--sequence-file",
        help="A Python file that defines sequences of your own; may be repeated.",
    ),
]
SequencePatterns = Annotated[
    list[str] | None,
    typer.Option("--sequence", help="A sequence or pattern such as 'fashion-*'; may be repeated."),
]
SeedCount = Annotated[
    int | None,
    typer.Option("--seeds", min=1, help="Only the first so many of the protocol's seeds."),
]
ResultsFolder = Annotated[
    Path,
    typer.Option("--out", help="The results folder; the same command again goes on where it was."),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="The data folder.", envvar="DRIFTBOARD_DATA", show_default=False),
]
Device = Annotated[Literal["auto", "cpu", "cuda"], typer.Option("--device", help="Where to train.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Worker processes.", show_default="one per CPU core, one for CUDA"
    ),
]
Cluster = Annotated[
    Literal["ray"] | None,
    typer.Option(
        "--cluster",
        help="Train on a cluster's machines instead of in processes of this one; "
        "needs Ray, pip install 'ray>=2.60'.",
        show_default=False,
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="HOST:PORT of the cluster, or 'auto' for the one that this machine belongs to.",
        show_default="RAY_ADDRESS, else a cluster of this machine alone for the time of the run",
    ),
]
