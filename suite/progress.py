"""Jobs under a progress bar with an estimate of the time left."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from driftboard.suite.runner import Planned, Workers, run_jobs


def run_with_progress(
    plan: Callable[[], list[Planned]], cells: int, processes: Workers, console: Console
) -> list[str]:
    """Plan jobs, run them, and return one line for each that failed.

    ``cells`` is how many were asked for; what the plan lacks is there already, and said so.
    """
    with Progress(
        TextColumn("{task.percentage:>3.0f}%"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("{task.description}"),
        console=console,
    ) as bar:
        line = bar.add_task("making the task splits", total=None)
        planned = plan()
        there = cells - sum(item.cells for item in planned)
        if there > 0:
            console.print(f"{there} cells are there already", highlight=False)

        def progress(done: float, total: float, label: str) -> None:
            bar.update(line, completed=done, total=total, description=label)

        failures = run_jobs(planned, processes, progress)
        bar.update(line, description="done", completed=1, total=1)
    return failures
