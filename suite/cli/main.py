"""The command line. Every command imports what it needs when it runs, so help stays light."""

import io
import sys

import typer

from driftboard.suite.cli.check import check
from driftboard.suite.cli.claim import claim
from driftboard.suite.cli.data import app as data
from driftboard.suite.cli.grade import grade
from driftboard.suite.cli.leaderboard import leaderboard
from driftboard.suite.cli.linear import linear
from driftboard.suite.cli.list import sequences, strategies
from driftboard.suite.cli.new import new
from driftboard.suite.cli.reproduce import reproduce
from driftboard.suite.cli.run import run
from driftboard.suite.cli.submit import submit
from driftboard.suite.cli.sweep import sweep
from driftboard.suite.cli.tune import tune
from driftboard.suite.cli.verify import verify
from driftboard.suite.errors import DriftboardError, one_line

app = typer.Typer(
    name="driftboard",
    help="How far should the parameters move when a new task arrives? A benchmark and "
    "leaderboard for continual learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run)
app.command()(new)
app.command()(check)
app.command()(grade)
app.command()(leaderboard)
app.command()(claim)
app.command()(linear)
app.command()(sweep)
app.command()(tune)
app.command()(reproduce)
app.command()(submit)
app.command()(verify)
app.command()(sequences)
app.command()(strategies)
app.add_typer(data, name="data")


def main() -> None:
    """Run the command line; a user's mistake ends in one line and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A table has signs that not every terminal or pipe can show; all else of it still counts.
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except DriftboardError as error:
        print(f"driftboard: {one_line(str(error))}", file=sys.stderr)
        sys.exit(1)
