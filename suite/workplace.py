"""Where a command trains: in processes of this machine, or on a Ray cluster.

torch is imported only once something is trained.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import typer

from driftboard.suite.errors import DriftboardError, one_line

if TYPE_CHECKING:
    from driftboard.suite.grid import Request


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
            request: what is asked for; its device may be ``auto``. Its results folder is claimed
                first.
            what: the same in words.

        Raises:
            typer.Exit: stopped by Ctrl-C; a line has said how to go on.
            DriftboardError: there is no such device or cluster.
            RecordError: the results folder is of another protocol or split.
        """
        return self._on_ray(request, what) if self.cluster else self._here(request, what)

    def _here(self, request: "Request", what: str) -> list[str]:
        from driftboard.suite.grid import claim_folder, resolve_device
        from driftboard.suite.planning import plan
        from driftboard.suite.progress import work_off

        request = replace(request, device=resolve_device(request.device))
        claim_folder(request.results, request.purpose)
        return work_off(
            lambda: plan(request),
            request.cell_count(),
            what,
            request.results,
            request.device,
            self.workers,
        )

    def _on_ray(self, request: "Request", what: str) -> list[str]:
        from driftboard.suite.cluster.connection import connected
        from driftboard.suite.grid import claim_folder
        from driftboard.suite.planning import plan
        from driftboard.suite.progress import stoppable, work_off_with

        with stoppable(request.results), connected(self.ray_address, self.workers) as cluster:
            request = replace(request, device=cluster.resolve_device(request.device))
            claim_folder(request.results, request.purpose)
            return work_off_with(
                partial(cluster.workers, request, self.workers),
                lambda: plan(request),
                request.cell_count(),
                what,
                request.results,
            )


def train_all(request: "Request", what: str, workplace: Workplace) -> None:
    """Do what ``Workplace.train`` does, and leave with 1 if a job failed.

    Raises:
        typer.Exit: some jobs failed, and a line has told of each; or as ``Workplace.train``.
    """
    failures = workplace.train(request, what)
    tell_failures(failures)
    if failures:
        raise typer.Exit(1)


def tell_failures(lines: list[str]) -> None:
    """Print the lines of jobs that failed."""
    for line in lines:
        typer.echo(f"driftboard: failed: {one_line(line)}", err=True)
