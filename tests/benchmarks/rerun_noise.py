"""How often an honest re-run is blamed, and how far apart two honest runs of a cell lie.

    python tests/benchmarks/rerun_noise.py --suite quick --strategy sgd --strategy ewc

trains the cells of a suite once as ``driftboard run`` does, and once more as each of ``MACHINES``
would: with other vector instructions, other kernels, another number of threads, another lane,
other learners beside it. Every re-run is then judged as ``driftboard verify --rerun`` judges it,
one cell at a time. Every blame is a false alarm; the differences are the noise of same-seed runs,
as far as one processor can play several.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from driftboard.leaderboard.statistics import clopper_pearson
from driftboard.leaderboard.verification.rerun import compare, measured_noise, score
from driftboard.suite import records

Pair = tuple[records.AnyRecord, records.AnyRecord]


@dataclass(frozen=True)
class Machine:
    """What differs from the usual run; ``cohort`` is how many learners train together."""

    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    lane: str | None = None
    cohort: int | None = None


PLAIN_VECTORS = {"ATEN_CPU_CAPABILITY": "default"}  # SSE2 in torch's own kernels, else AVX2
OLD_PRODUCTS = {"MKL_CBWR": "COMPATIBLE"}  # matrix products with SSE2 too
OLD_CONVOLUTIONS = {"ONEDNN_MAX_CPU_ISA": "SSE41"}

MACHINES = {
    "the same again": Machine(),
    "two threads": Machine(threads=2),
    "plain vectors": Machine(PLAIN_VECTORS),
    "old products": Machine(OLD_PRODUCTS),
    "old processor": Machine(PLAIN_VECTORS | OLD_PRODUCTS | OLD_CONVOLUTIONS),
    "stacks of two": Machine(cohort=2),
    "solo lane": Machine(lane="solo", cohort=1),
    "old, solo lane": Machine(PLAIN_VECTORS | OLD_PRODUCTS, lane="solo", cohort=1),
}


def train_as(name: str, options: argparse.Namespace) -> None:
    """Train all cells in this process, as one of ``MACHINES``, whose environment it has."""
    import torch

    from driftboard.suite import worker
    from driftboard.suite.grid import Request
    from driftboard.suite.lanes import choose_lane
    from driftboard.suite.loading import load_sequences, load_strategy
    from driftboard.suite.runner import plan
    from driftboard.suite.sequences import choose_sequences

    machine = MACHINES[name]
    chosen = choose_sequences(load_sequences(), options.suite, options.sequence, False)
    request = Request(
        sequences=chosen,
        sequence_files=(),
        strategies=tuple(map(load_strategy, options.strategy)),
        seed_count=options.seeds,
        purpose="test",
        results=options.out,
        data=options.data,
        device="cpu",
    )
    if machine.lane is not None:
        worker.choose_lane = lambda network, device: machine.lane  # the records say so too
    else:
        worker.choose_lane = choose_lane
    torch.set_num_threads(machine.threads)
    for item in plan(request):
        if isinstance(item.job, worker.Job):
            size = machine.cohort or len(item.job.seeds)
            for start in range(0, len(item.job.seeds), size):
                part = item.job.seeds[start : start + size]
                replace(item.job, seeds=part).execute(lambda: None)
        else:
            item.job.execute(lambda: None)


def start(name: str, folder: Path, arguments: Sequence[str]) -> None:
    """Train all cells in a process of its own, below ``folder``."""
    command = [sys.executable, __file__, *arguments, "--machine", name, "--out", str(folder)]
    subprocess.run(command, env=os.environ | MACHINES[name].environment, check=True)


def pairs(before: Path, after: Path) -> list[Pair]:
    """Return every cell as it came out first and when run again."""
    return [
        (records.read_record(path), records.read_record(after / path.relative_to(before)))
        for path in records.record_paths(before)
    ]


def report(name: str, found: Sequence[Pair]) -> None:
    """Print how re-runs were judged, and how their results differ."""
    levels = Counter(compare([pair], noise=None)[0].level for pair in found)
    print(f"{name}: {len(found)} re-runs")
    for level in ("FAILED", "warning"):
        share = clopper_pearson(levels[level], len(found))
        print(
            f"  {level:8} {levels[level]:4}  {100 * share.mean:5.1f} % "
            f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"
        )
    scores = [score(one) - score(again) for one, again in found]
    print(
        f"  Avg.Acc  {measured_noise(scores).size:.5f} root mean square, "
        f"{max(map(abs, scores)):.5f} at most"
    )
    counts = [np.abs(_counts(one) - _counts(again)).ravel() for one, again in found]
    if counts[0].dtype.kind == "i":
        print(f"  counts   off by {_spread(counts)} images")
    norms = [_relative(one, again) for one, again in found]
    print(f"  norms    off by {_spread(norms, '.1e')} of themselves")
    untrained = sum(_untrained(one) != _untrained(again) for one, again in found)
    print(f"  untrained networks that answer otherwise: {untrained}")


def _counts(record: records.AnyRecord) -> np.ndarray:
    return np.array(record.correct if isinstance(record, records.Record) else record.losses)


def _untrained(record: records.AnyRecord) -> tuple[float, ...]:
    if isinstance(record, records.Record):
        return record.correct_untrained
    return record.losses_untrained


def _relative(one: records.AnyRecord, again: records.AnyRecord) -> np.ndarray:
    """Return by how much norms of updates, solutions and drift differ, relative to the larger."""
    both = [
        np.array([each.update_norms, each.solution_norms, each.drift_norms]).ravel()
        for each in (one, again)
    ]
    larger = np.maximum(*both)
    return np.abs(both[0] - both[1])[larger > 0] / larger[larger > 0]


def _spread(values: Sequence[np.ndarray], form: str = ".0f") -> str:
    flat = np.concatenate(values)
    parts = np.quantile(flat, [0.5, 0.9, 0.99, 1.0], method="higher")
    words = ", ".join(f"{part:{form}}" for part in parts)
    return f"0 in {100 * np.mean(flat == 0):.0f} %, and {words} (50, 90, 99, 100 %)"


def main() -> None:
    """Train, train again, and print a report for each machine and one for all others together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--sequence", action="append")
    parser.add_argument("--strategy", action="append", required=True)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="keep the records here")
    parser.add_argument("--machine", choices=MACHINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.machine:
        train_as(options.machine, options)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.out or Path(name)
        arguments = sys.argv[1:]
        before = folder / "before"
        start("the same again", before, arguments)
        everything: list[Pair] = []
        for machine in MACHINES:
            after = folder / machine.replace(" ", "-").replace(",", "")
            start(machine, after, arguments)
            found = pairs(before, after)
            report(machine, found)
            everything += found if machine != "the same again" else []
        report("all but the first", everything)


if __name__ == "__main__":
    main()
