"""The backend of a run: processes of this machine or a Ray cluster, and a progress bar.

Nothing here knows of the command line: a program uses it as the commands do. Importing this module
does not import torch; ``Backend.run_jobs`` does, to plan what fits into memory.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from driftboard.suite.errors import DriftboardError, RecordError, counted, one_line
from driftboard.suite.runs.scheduler import Event, Failure, Log, Progress, Scheduler

if TYPE_CHECKING:
    from rich.console import Console

    from driftboard.suite.runs.local import LocalExecutor
    from driftboard.suite.runs.ray_executor import Cluster, RayExecutor
    from driftboard.suite.runs.request import Request


SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Backend:
    """Where to train.

    Args:
        workers: the number of worker processes; None means one per core, or one for a GPU.
        cluster: ``ray``, or None for processes of this machine.
        ray_address: of the cluster, see ``ray_executor.connected``.

    Raises:
        DriftboardError: there is an address and no cluster.
    """

    workers: int | None = None
    cluster: str | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        if self.ray_address is not None and self.cluster is None:
            raise DriftboardError(
                "--ray-address says where a cluster is; add --cluster ray to use it"
            )

    def warm_up(self) -> None:
        """Let worker processes import torch already, while this one still does."""
        if self.cluster is None:
            from driftboard.suite.runs.local import start_server

            start_server()

    def run_jobs(
        self, request: "Request", what: str, show: Callable[[Event], None] = lambda event: None
    ) -> list[Failure]:
        """Measure what the results folder of a request lacks.

        However it ends, no worker outlives the call, and what is done is kept: the same call goes
        on from there. That holds for KeyboardInterrupt, too, which passes through.

        Args:
            request: its device may be ``auto``. A folder for cells is claimed first.
            what: the same in words, for the first line.
            show: called with every event, such as a ``ProgressBar``.

        Returns:
            The jobs that failed, each reason once; the others are not affected.

        Raises:
            DriftboardError: there is no such device, cluster or data set, the results folder
                does not fit, is of other images or went away meanwhile, or there is nobody left to
                go on.
        """
        from driftboard.suite.runs.cells import plan, survey, survey_with_images
        from driftboard.suite.runs.results_folder import check_writable, claim_folder

        cells, (found, notes) = request.cell_count(), survey_with_images(request)

        def claim() -> None:
            if request.work is None:
                claim_folder(request.results, request.purpose, found.outdated.paths)

        if not found.count:
            claim()
            for line in notes:
                show(Log(line))
            show(Log(f"{what}, {counted(cells, 'cell')}: all there already"))
            return []
        self.warm_up()
        failures: dict[str, Failure] = {}
        with self._decided(request) as (decided, start):
            claim()
            check_writable(request.results)
            with start() as executor:
                show(
                    Log(
                        f"{what}, {counted(cells, 'cell')}, {executor.description}; "
                        f"results in {request.results}"
                    )
                )
                if found.outdated.kinds:
                    show(Log(f"measured again: {found.outdated.in_words()}"))
                for line in notes:
                    show(Log(line))
                show(Progress("making the task splits"))
                jobs = plan(decided, lambda line: show(Log(line)), found)  # while workers start
                if there := cells - found.count:
                    show(Log(f"already there: {counted(there, 'cell')}"))
                scheduler = Scheduler(executor)
                try:
                    for event in scheduler.run(jobs):
                        # What was halved may fail twice for one reason.
                        if isinstance(event, Failure):
                            failures.setdefault(event.line, event)
                        show(event)
                except KeyboardInterrupt:
                    scheduler.keep_finished()
                    raise
                show(Progress("done", 1.0, 1.0))
            if not failures and (lost := survey(request).count):
                raise RecordError(
                    f"{counted(lost, 'cell')} of this run vanished from {request.results}, which "
                    "was removed, moved or emptied meanwhile; run the same command again"
                )
        return list(failures.values())

    @contextmanager
    def _decided(
        self, request: "Request"
    ) -> "Iterator[tuple[Request, Callable[[], LocalExecutor | RayExecutor]]]":
        """Yield the request with the device decided, and what starts workers for it."""
        from driftboard.suite.training.memory_plan import resolve_device, worker_count

        if self.cluster is None:
            from driftboard.suite.runs.local import local_executor

            device = resolve_device(request.device)
            count = worker_count(device, self.workers)
            yield replace(request, device=device), lambda: local_executor(device, count)
            return
        from driftboard.suite.places import find_data_folder
        from driftboard.suite.runs.ray_executor import connected

        with connected(self.ray_address, worker_count("cpu", self.workers)) as cluster:
            decided = replace(
                request,
                device=cluster.resolve_device(request.device),
                # They may work in another folder.
                data=request.data and find_data_folder(request.data).absolute(),
            )
            yield decided, lambda: ray_workers(cluster, decided, self.workers)


def ray_workers(cluster: "Cluster", request: "Request", wanted: int | None) -> "RayExecutor":
    """Start workers of a cluster whose machines have to have what this one has.

    Args:
        cluster: where.
        request: what the jobs will be of; its device is decided, and its data folder named from
            the root.
        wanted: at most so many workers; None takes as many as there is room for.

    Raises:
        DataError: a data set is missing or broken here.
    """
    from driftboard.suite.runs.ray_executor import RayExecutor
    from driftboard.suite.runs.worker import Conditions, fingerprints, versions
    from driftboard.suite.sequences.linear import LinearSetting

    sources = {s.source for s in request.sequences if not isinstance(s.scenario, LinearSetting)}
    digests = fingerprints(request.data, sorted(sources))
    conditions = Conditions(request.device, versions(), request.data, digests)
    return RayExecutor(cluster, conditions, wanted)


class ProgressBar:
    """Shows events with rich, in a terminal or a notebook: lines, and below them a bar.

    Args:
        console: where; None means standard error.
    """

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._console = console or Console(stderr=True)
        self._bar = Bar(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            redirect_stdout=False,
        )
        self._line: Any = None  # of the bar, once there is any progress
        # A bar that moves needs ipywidgets in a notebook; without them, lines tell how far it is.
        self._lines_only = self._console.is_jupyter and find_spec("ipywidgets") is None
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._line is not None:
            self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show an event; failures are left to whoever gets them at the end."""
        if isinstance(event, Log):
            self._print(event.line)
        elif isinstance(event, Progress) and self._lines_only:
            self._tell(event)
        elif isinstance(event, Progress):
            if self._line is None:
                self._line = self._bar.add_task(event.label, total=None)
                self._bar.start()
            self._bar.update(
                self._line, completed=event.done, total=event.total, description=event.label
            )

    def _tell(self, event: Progress) -> None:
        """Print a line on progress, not more often than every few seconds."""
        ended = event.total is not None and event.done >= event.total
        if event.total and (ended or time.monotonic() - self._told >= SECONDS_BETWEEN_LINES):
            self._told = time.monotonic()
            share = f"{100 * event.done / event.total:.0f}%"
            self._print(f"{share} {event.label}")

    def _print(self, line: str) -> None:
        """Print a line as it is: not wrapped, for then no path in it could be copied."""
        self._console.print(
            one_line(line), highlight=False, markup=False, emoji=False, soft_wrap=True
        )
