"""Run as ``python -m driftboard.suite.sandbox.run_cells STRATEGY OUT SEEDS SEQUENCE...``.

Trains one strategy on some sequences in this process, without worker processes, and writes the
records below OUT. ``process.py`` runs it to check a submission. Training runs on the CPU, because
a process with a limited address space that may write to one folder only cannot use a GPU. The
data folder is that of ``DRIFTBOARD_DATA``. The last line on standard error says what went wrong.
"""

import os
import sys
import traceback
from pathlib import Path

from driftboard.suite.errors import DriftboardError, one_line
from driftboard.suite.loading import load_sequences, load_strategy
from driftboard.suite.runs.cells import plan
from driftboard.suite.runs.request import Request
from driftboard.suite.runs.results_folder import claim_folder
from driftboard.suite.runs.worker import prepare_process


def run_cells(
    strategy: str, out: Path, seeds: int, sequences: list[str], data: Path | None
) -> None:
    """Train the first ``seeds`` seeds of the protocol on each sequence and write the records.

    Raises:
        DriftboardError: as ``driftboard run`` does.
    """
    registry = load_sequences()
    request = Request(
        sequences=tuple(registry[name] for name in sequences),
        sequence_files=(),
        strategies=(load_strategy(strategy),),
        seed_count=seeds,
        purpose="test",
        results=out,
        data=data,
        device="cpu",
    )
    claim_folder(out, request.purpose)
    prepare_process("cpu")
    for job in plan(request):
        job.keep(job.measure())


def main() -> None:
    """Train as the command line says; on failure exit with 1, a traceback and the message alone."""
    strategy, out, seeds, *sequences = sys.argv[1:]
    data = os.environ.get("DRIFTBOARD_DATA")
    try:
        run_cells(strategy, Path(out), int(seeds), sequences, Path(data) if data else None)
    except DriftboardError as error:
        traceback.print_exception(error)
        print(one_line(str(error)), file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
