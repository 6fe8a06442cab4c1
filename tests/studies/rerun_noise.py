"""How often an honest re-run is blamed, and how far apart two honest runs of a cell lie.

    python tests/benchmarks/rerun_noise.py --strategy sgd --strategy ewc

trains the cells of a suite once as ``driftboard run`` does, and once more as each of ``MACHINES``
would: with other vector instructions, other kernels, another number of threads, another lane,
other learners beside it. Every re-run is then judged as ``driftboard verify --rerun`` judges it,
one cell at a time and all cells of a strategy together. Every blame is a false alarm; the
differences are the noise of same-seed runs, as far as one processor can play several. Stopped,
``--out`` goes on where it was.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from driftboard.leaderboard.analysis.statistics import clopper_pearson
from driftboard.leaderboard.verification.rerun import Noise, compare, noise_over_seeds, score
from driftboard.suite import records

Pair = tuple[records.AnyRecord, records.AnyRecord]


@dataclass(frozen=True)
class Machine:
    """What differs from the usual run; ``cohort`` is how many learners train together."""

    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    mode: str | None = None
    cohort: int | None = None


PLAIN_VECTORS = {"ATEN_CPU_CAPABILITY": "default"}  # SSE2 in torch's own kernels, else AVX2
OLD_PRODUCTS = {"MKL_CBWR": "COMPATIBLE"}  # matrix products with SSE2 too
OLD_CONVOLUTIONS = {"ONEDNN_MAX_CPU_ISA": "SSE41"}

PATIENT = {"OMP_WAIT_POLICY": "passive"}  # threads that wait let others work

MACHINES = {
    "the same again": Machine(),
    "old processor": Machine(PLAIN_VECTORS | OLD_PRODUCTS | OLD_CONVOLUTIONS),
    "plain vectors": Machine(PLAIN_VECTORS),
    "old products": Machine(OLD_PRODUCTS),
    "stacks of two": Machine(cohort=2),
    "two threads": Machine(PATIENT, threads=2),
    "solo lane": Machine(mode="loop", cohort=1),
}


def train_as(name: str, options: argparse.Namespace) -> None:
    """Train all cells in this process, as one of ``MACHINES``, whose environment it has."""
    import torch

    from driftboard.suite.loading import load_sequences, load_strategy
    from driftboard.suite.runs import cells
    from driftboard.suite.runs.request import Request
    from driftboard.suite.sequences.task_sequence import choose_sequences
    from driftboard.suite.training.networks import choose_mode

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
    if machine.mode is not None:
        cells.choose_mode = lambda network, device: machine.mode  # the records say so too
    else:
        cells.choose_mode = choose_mode
    torch.set_num_threads(machine.threads)
    for job in cells.plan(request):
        size = len(job.seeds)
        if isinstance(job.payload, cells.Cells):
            size = machine.cohort or size
        for start in range(0, len(job.seeds), size):
            part = replace(job, seeds=job.seeds[start : start + size])
            part.keep(part.measure())


def start(name: str, folder: Path, arguments: Sequence[str]) -> None:
    """Train all cells in a process of its own, below ``folder``."""
    command = [sys.executable, __file__, *arguments, "--as", name, "--out", str(folder)]
    subprocess.run(command, env=os.environ | MACHINES[name].environment, check=True)


def pairs(before: Path, after: Path) -> list[Pair]:
    """Return every cell as it came out first and when run again."""
    return [
        (records.read_record(path), records.read_record(after / path.relative_to(before)))
        for path in records.record_paths(before)
    ]


def report(name: str, found: Sequence[Pair]) -> Counter[str]:
    """Print how re-runs were judged and how they differ; return how often each level was given."""
    print(f"{name}: {len(found)} re-runs")
    unequal = sum(_counts(one).tolist() != _counts(again).tolist() for one, again in found)
    _print_share("other results", unequal, len(found))
    submissions = _grouped(found, lambda one: one.strategy.name)
    cells, whole = Counter[str](), Counter[str]()
    ratios = []
    for pairs in submissions.values():
        own = _grouped(pairs, lambda one: one.sequence.name)
        noise = {key: noise_over_seeds([one for one, _ in each]) for key, each in own.items()}
        cells.update(compare([pair], noise)[0].level for pair in pairs)
        whole[compare(pairs, noise)[0].level] += 1
        ratios += [_ratio(pair, noise[pair[0].sequence.name]) for pair in pairs]
    for level in ("FAILED", "warning"):
        _print_share(f"{level}, one cell", cells[level], len(found))
        _print_share(f"{level}, all cells of a strategy", whole[level], len(submissions))
    scores = np.array([score(one) - score(again) for one, again in found])
    print(f"  score off by {_size(scores)}")
    print(f"  in deviations over seeds {_size(np.array(ratios))}")
    counts = np.concatenate([_off(one, again) for one, again in found])
    print(f"  counts off by {_spread(counts)}")
    norms = np.concatenate([_relative(one, again) for one, again in found])
    print(f"  norms off by {_spread(norms)} of themselves")
    untrained = sum(_untrained(one) != _untrained(again) for one, again in found)
    print(f"  untrained networks that answer otherwise: {untrained}", flush=True)
    return cells


def _print_share(what: str, count: int, of: int) -> None:
    share = clopper_pearson(count, of)
    print(f"  {what}: {count} of {of} [{100 * share.low:.1f} %, {100 * share.high:.1f} %]")


def _grouped(
    found: Sequence[Pair], key: Callable[[records.AnyRecord], str]
) -> dict[str, list[Pair]]:
    groups: dict[str, list[Pair]] = {}
    for pair in found:
        groups.setdefault(key(pair[0]), []).append(pair)
    return groups


def _ratio(pair: Pair, noise: Noise | None) -> float:
    """Return a difference of scores in units of their deviation over seeds."""
    assert noise is not None  # a suite has several seeds
    return (score(pair[0]) - score(pair[1])) / (noise.size / math.sqrt(2.0))


def _size(values: np.ndarray) -> str:
    return (
        f"{np.sqrt(np.mean(values**2)):.4f} (root mean square), {np.abs(values).max():.4f} at most"
    )


def _counts(record: records.AnyRecord) -> np.ndarray:
    return np.array(record.correct if isinstance(record, records.Record) else record.losses)


def _untrained(record: records.AnyRecord) -> tuple[float, ...]:
    if isinstance(record, records.Record):
        return record.correct_untrained
    return record.losses_untrained


def _off(one: records.AnyRecord, again: records.AnyRecord) -> np.ndarray:
    return np.abs(_counts(one) - _counts(again)).ravel()


def _relative(one: records.AnyRecord, again: records.AnyRecord) -> np.ndarray:
    """Return by how much norms of updates, solutions and drift differ, relative to the larger."""
    both = [
        np.array([each.update_norms, each.solution_norms, each.drift_norms]).ravel()
        for each in (one, again)
    ]
    larger = np.maximum(*both)
    return np.abs(both[0] - both[1])[larger > 0] / larger[larger > 0]


def _spread(values: np.ndarray) -> str:
    parts = np.quantile(values, [0.5, 0.9, 0.99, 1.0], method="higher")
    words = ", ".join(f"{part:.2g}" for part in parts)
    return f"0 in {100 * np.mean(values == 0):.0f} %, {words} (50, 90, 99, 100 %)"


def main() -> None:
    """Train, train again, and print a report for each machine and the blames of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--sequence", action="append")
    parser.add_argument("--strategy", action="append", required=True)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, help="keep the records here")
    parser.add_argument("--machine", action="append", choices=MACHINES, help="by default all")
    parser.add_argument("--as", dest="playing", choices=MACHINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.playing:
        train_as(options.playing, options)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.out or Path(name)
        arguments = sys.argv[1:]
        before = folder / "before"
        start("the same again", before, arguments)
        levels = Counter[str]()
        for machine in options.machine or MACHINES:
            after = folder / machine.replace(" ", "-")
            start(machine, after, arguments)
            levels += report(machine, pairs(before, after))
    print("all machines:")
    for level in ("FAILED", "warning"):
        _print_share(level, levels[level], levels.total())


if __name__ == "__main__":
    main()
