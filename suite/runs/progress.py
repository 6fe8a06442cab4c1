"""What all long commands share: workers, and a progress bar."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from driftboard.suite.errors import counted
from driftboard.suite.runs.crew import Crew, Hire, Planned, run_jobs


def work_off(
    hire: Hire,
    make_plan: Callable[[], list[Planned]],
    cells: int,
    what: str,
    results: Path,
) -> list[str]:
    """Plan jobs, let workers run them, and return one line for each that failed.

    Args:
        hire: starts the workers, which end with its block.
        make_plan: makes the jobs; called once the workers start, so that both import at a time.
        cells: how many were asked for; what the plan lacks is there already, and said so.
        what: what is asked for, in words.
        results: where the results go.
    """
    console = Console(stderr=True)

    def tell(line: str) -> None:
        console.print(line, highlight=False, markup=False)

    with hire(tell) as crew:
        tell(f"{what}, {counted(cells, 'cell')}, {crew.description}; results in {results}")
        return _run_with_bar(make_plan, cells, crew, console)


def _run_with_bar(
    make_plan: Callable[[], list[Planned]], cells: int, crew: Crew, console: Console
) -> list[str]:
    with Progress(
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.description}"),
        console=console,
        redirect_stdout=False,
    ) as bar:
        line = bar.add_task("making the task splits", total=None)
        planned = make_plan()
        there = cells - sum(item.cells for item in planned)
        if there > 0:
            console.print(f"already there: {counted(there, 'cell')}", highlight=False)

        def progress(done: float, total: float, label: str) -> None:
            bar.update(line, completed=done, total=total, description=label)

        failures = run_jobs(planned, crew, progress)
        bar.update(line, description="done", completed=1, total=1)
    return failures
