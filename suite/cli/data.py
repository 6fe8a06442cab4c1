"""``driftboard data``: look at the data folder and bring data sets into it."""

import dataclasses
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from driftboard.suite.cli.options import AsJson, DataFolder, with_traceback
from driftboard.suite.errors import one_line

if TYPE_CHECKING:
    from driftboard.suite.data import Pool
    from driftboard.suite.data.folder import SourceStatus

app = typer.Typer(
    help="See which data sets are there, download them, or import them from files you have. "
    "Without a command: list.",
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
@with_traceback
def data(context: typer.Context) -> None:
    """List the data sets unless a command is given."""
    if context.invoked_subcommand is None:
        list_sources()


@app.command("list")
@with_traceback
def list_sources(
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """List the data sets: present, missing or broken, how many classes and images, and where.

    Looks at names and sizes of files only. Use the names in the first column for fetch and
    import, and wherever Driftboard asks for a data set.
    """
    from driftboard.suite.data.folder import status
    from driftboard.suite.places import find_data_folder

    folder = find_data_folder(data)
    statuses = status(folder)
    if as_json:
        content = {
            "folder": str(folder),
            "sources": [dataclasses.asdict(entry) for entry in statuses],
        }
        typer.echo(json.dumps(content, indent=1))
    else:
        chosen = data is not None and str(data) != os.environ.get("DRIFTBOARD_DATA")
        _print_table(folder, statuses, f" --data {shlex.quote(str(data))}" if chosen else "")


@app.command("show")
@with_traceback
def show_source(
    name: Annotated[
        str, typer.Argument(help="A data set, such as omniglot, or folder:NAME for your own.")
    ],
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show what a data set holds: its classes and their groups, numbers and size of images.

    Reads all of it. The fingerprint is that in records.
    """
    from driftboard.suite.data import convert_originals, load_pool

    described = _described(name, convert_originals(name, data) or load_pool(name, data))
    if as_json:
        typer.echo(json.dumps(described, indent=1))
        return
    typer.echo(f"{name}: {described['title']}")
    for label, text in _facts(described):
        typer.echo(f"  {label}: {text}")


@app.command("fetch")
@with_traceback
def fetch_source(
    name: Annotated[str, typer.Argument(help="The data set, such as fashion-mnist.")],
    data: DataFolder = None,
) -> None:
    """Download a data set into the data folder, unless it is there already.

    Original files that you have put there yourself are made ready for training.
    """
    from driftboard.suite.data.folder import fetch
    from driftboard.suite.places import find_data_folder

    _print_status(fetch(name, find_data_folder(data)))


@app.command("import")
@with_traceback
def import_source(
    name: Annotated[
        str,
        typer.Argument(
            help="A data set from the list, or a new name for images of your own: a-z, 0-9, "
            "'.', '_' and '-'."
        ),
    ],
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder with the original files of the data set, for tiny-imagenet also an "
            "archive of it; or a folder or archive (.tar, .tar.gz, .tgz, .zip) with images in "
            "train/<class>/ and test/<class>/."
        ),
    ],
    data: DataFolder = None,
) -> None:
    """Bring a data set into the data folder from files you have.

    The original files of a known data set, or image folders, of cifar10 or of your own, are
    checked and become one file NAME.npz; images of your own are then called folder:NAME. All
    images must have the same size, and train and test the same classes. How many images the
    classes have is printed, and what was passed over.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from driftboard.suite.data.folder import import_images
    from driftboard.suite.places import find_data_folder

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # On stderr, so that stdout holds the result alone.
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading images", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        notes: list[str] = []
        entry = import_images(name, path, find_data_folder(data), show, notes.append)
    _print_status(entry)
    for note in notes:
        typer.echo(f"  {note}")


def _described(name: str, pool: "Pool") -> dict[str, Any]:
    """Return what there is of a data set, as data for JSON."""
    import numpy as np

    channels, height, width = pool.train_images.shape[1:]
    groups = Counter(group for group in pool.groups if group)
    return {
        "name": name,
        "title": pool.title,
        "fingerprint": pool.fingerprint,
        "channels": channels,
        "height": height,
        "width": width,
        "classes": [pool.class_name(label) for label in range(pool.classes)],
        "groups": dict(groups),
        **{
            part: np.bincount(labels, minlength=pool.classes).tolist()
            for part, _, labels in pool.parts
        },
    }


def _facts(described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a terminal shows of a data set, a label and a text each."""
    kind = "grey" if described["channels"] == 1 else "colour"
    yield "images", f"{described['width']}x{described['height']}, {kind}"
    names = [one_line(name) for name in described["classes"]]
    yield "classes", f"{len(names)}: {', '.join(names)}"
    if described["groups"]:
        counts = [f"{one_line(name)} {count}" for name, count in described["groups"].items()]
        yield "groups", f"{len(counts)}: {', '.join(counts)} classes"
    for part in ("training", "test"):
        least, most = min(described[part]), max(described[part])
        each = f"{most}" if least == most else f"{least} to {most}"
        yield f"{part} images", f"{sum(described[part]):,}, {each} of each class"
    yield "fingerprint", described["fingerprint"]


def _print_status(entry: "SourceStatus") -> None:
    counts = f"{entry.train_count} training and {entry.test_count} test images"
    place = f" in {entry.path}" if entry.path else ""
    typer.echo(f"{entry.name}: {entry.title}, {counts}{place}")


def _print_table(folder: Path, statuses: "list[SourceStatus]", option: str) -> None:
    """Print a row for each data set, and the commands that bring what is missing."""
    from driftboard.suite.terminal import Column, TextTable

    columns = [
        *(Column("name"), Column("state"), Column("classes", "number")),
        *(Column("train", "number"), Column("test", "number")),
        *(Column("data"), Column("where", "words")),
    ]
    rows = [
        (
            *(entry.name, entry.state, _count(entry.classes)),
            *(_count(entry.train_count), _count(entry.test_count)),
            *(entry.title, _place(entry, folder)),
        )
        for entry in statuses
    ]
    typer.echo(f"data folder: {folder}")
    typer.echo(TextTable(columns, [rows]).text())
    # Not in the table, where they would be broken.
    if commands := [entry.next_step for entry in statuses if entry.next_step]:
        typer.echo("to get what is missing or broken:")
        for command in commands:
            typer.echo(f"  {command}{option}")


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _place(entry: "SourceStatus", folder: Path) -> str:
    if entry.state == "present":
        return str(Path(entry.path).relative_to(folder)) if entry.path else "comes with Driftboard"
    return entry.reason if entry.state == "broken" else ""
