"""Where a command trains: in processes of this machine, or on a Ray cluster.

torch is imported only once something is trained.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import typer

from driftboard.suite.errors import DriftboardError, one_line

if TYPE_CHECKING:
    from driftboard.suite.runs.crew import Hire, Planned
    from driftboard.suite.runs.grid import AnyRequest, Request

RequestT = TypeVar("RequestT", bound="AnyRequest")


@dataclass(frozen=True)
class Workplace:
    """What the options ``--workers``, ``--cluster`` and ``--ray-address`` say.

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

    def train(self, request: "Request", what: str) -> list[str]:
        """Train what is missing of a request and return a line for every job that failed.

        Args:
            request: what is asked for. Its results folder is claimed first.
            what: the same in words.

        Raises:
            typer.Exit, DriftboardError: as ``work_off``.
            RecordError: the results folder is of another protocol or split.
        """

        def first() -> None:
            from driftboard.suite.runs.grid import claim_folder

            claim_folder(request.results, request.purpose)

        def planned(request: "Request") -> "list[Planned]":
            from driftboard.suite.runs.planning import plan

            return plan(request)

        return self.work_off(request, planned, what, first)

    def work_off(
        self,
        request: "RequestT",
        plan: "Callable[[RequestT], list[Planned]]",
        what: str,
        first: Callable[[], None] = lambda: None,
    ) -> list[str]:
        """Do what is missing of any request and return a line for every job that failed.

        Args:
            request: what is asked for; its device may be ``auto``.
            plan: makes the jobs, given the request with the device decided.
            what: the same in words.
            first: called once it is known that there is somewhere to train.

        Raises:
            typer.Exit: stopped by Ctrl-C; a line has said how to go on.
            DriftboardError: there is no such device or cluster.
        """
        from driftboard.suite.runs.stopping import stoppable

        with stoppable(request.results), self._place(request) as (decided, hire):
            from driftboard.suite.runs.progress import work_off

            first()
            return work_off(
                hire, lambda: plan(decided), decided.cell_count(), what, decided.results
            )

    @contextmanager
    def _place(self, request: "RequestT") -> "Iterator[tuple[RequestT, Hire]]":
        """Yield the request with the device decided, and what starts workers there."""
        if self.cluster is None:
            from driftboard.suite.runs.process_start import start_server

            start_server()  # it imports torch while we do
            from driftboard.suite.runs.grid import resolve_device
            from driftboard.suite.runs.local_crew import local_workers

            device = resolve_device(request.device)
            yield replace(request, device=device), partial(local_workers, device, self.workers)
            return
        from driftboard.suite.runs.cluster.connection import connected

        with connected(self.ray_address, self.workers) as cluster:
            decided = replace(
                request,
                device=cluster.resolve_device(request.device),
                data=request.data and request.data.absolute(),
            )
            yield decided, partial(cluster.workers, decided, self.workers)


def train_all(request: "Request", what: str, workplace: Workplace) -> None:
    """Do what ``Workplace.train`` does, and leave with 1 if a job failed.

    Raises:
        typer.Exit: some jobs failed, and a line has told of each; or as ``Workplace.train``.
    """
    leave_if_failed(workplace.train(request, what))


def leave_if_failed(lines: list[str]) -> None:
    """Print the lines of jobs that failed, and leave with 1 if there are any.

    Raises:
        typer.Exit: there are.
    """
    for line in lines:
        typer.echo(f"driftboard: failed: {one_line(line)}", err=True)
    if lines:
        raise typer.Exit(1)
