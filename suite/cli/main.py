"""The program ``driftboard``: its commands, and how mistakes end.

A command's module imports at its top only what the help needs, and the rest when it runs.
"""

import codecs
import io
import platform
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from driftboard.suite.cli.data import app as data
from driftboard.suite.cli.develop import check, new
from driftboard.suite.cli.grade import grade
from driftboard.suite.cli.leaderboard import claim, leaderboard
from driftboard.suite.cli.linear import linear
from driftboard.suite.cli.list import sequences, strategies
from driftboard.suite.cli.options import expand_groups, traceback_asked, with_traceback
from driftboard.suite.cli.reproduce import reproduce
from driftboard.suite.cli.run import run
from driftboard.suite.cli.submit import submit, verify
from driftboard.suite.cli.sweep import sweep
from driftboard.suite.cli.tune import tune
from driftboard.suite.errors import DriftboardError, one_line

COMMANDS = (
    *(run, new, check, grade, leaderboard, claim, linear, sweep, tune, reproduce),
    *(submit, verify, sequences, strategies),
)
"""In the order of the help."""

app = typer.Typer(
    name="driftboard",
    help="How far should the parameters move when a new task arrives? A benchmark and "
    "leaderboard for continual learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in COMMANDS:
    app.command()(with_traceback(expand_groups(command)))
app.add_typer(data, name="data")


def _show_versions(asked: bool) -> None:
    """Print the versions that a report of a mistake needs; torch is not imported for it."""
    if not asked:
        return
    typer.echo(f"driftboard {version('driftboard')}")
    typer.echo(f"Python {platform.python_version()}")
    try:
        typer.echo(f"torch {version('torch')}")
    except PackageNotFoundError:
        typer.echo("torch is not installed")
    raise typer.Exit


@app.callback()
@with_traceback
def program(
    versions: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_versions, is_eager=True, help="Show versions and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line.

    What a user can mend, a DriftboardError or a file or folder that the system refuses, ends in
    one line on stderr, or a traceback where that is asked for, and exit code 1; a mistake in the
    command's options, in typer's usage message and exit code 2.
    """
    codecs.register_error("driftboard", _in_plainer_signs)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A table has signs that not every terminal or pipe can show; all else of it still counts.
        sys.stdout.reconfigure(errors="driftboard")
    traceback_asked.set(False)
    try:
        _check_current_folder()
        app()
    except (DriftboardError, OSError) as error:
        if traceback_asked.get():
            traceback.print_exception(error)
        else:
            print(*(f"driftboard: {line}" for line in _lines_of(error)), sep="\n", file=sys.stderr)
        sys.exit(1)


def _check_current_folder() -> None:
    """Check that the current folder is there: in one that was removed torch ends the process.

    Raises:
        DriftboardError: it is not.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise DriftboardError(
            f"the current folder cannot be used: {error.strerror}; change to another, with cd"
        ) from error


_PLAINER = dict(zip("─…★†", "-~*+", strict=True))


def _in_plainer_signs(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what to show of a character that an encoding lacks; see ``codecs.register_error``.

    Bytes in the name of a file that are no characters are shown as they are.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    sign = error.object[error.start]
    if "\udc80" <= sign <= "\udcff":
        return bytes([ord(sign) - 0xDC00]), error.start + 1
    return _PLAINER.get(sign, "?"), error.start + 1


def _lines_of(error: DriftboardError | OSError) -> list[str]:
    if isinstance(error, DriftboardError):
        return error.lines
    said = one_line(str(error.strerror or error))
    return [f"{error.filename}: {said}" if error.filename else said]
