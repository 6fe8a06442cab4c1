"""How often `driftboard verify` blames honest records.

    python tests/benchmarks/verification_false_alarms.py RESULTS --synthetic 500

takes every strategy of the results folders as if it were a submission, compares it with all other
strategies of its folder, and does the same with made-up submissions of the suite `quick`, whose
cells are tiny. For each check of the contents of records it prints how many were blamed, with the
Clopper-Pearson interval at 95 %. Every blame is a false alarm.
"""

import argparse
import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from driftboard.leaderboard.analysis.statistics import clopper_pearson
from driftboard.leaderboard.verification.checks import FORENSIC, examine
from driftboard.leaderboard.verification.contents import LEAST, spread
from driftboard.leaderboard.verification.report import Finding
from driftboard.leaderboard.verification.submission import SubmissionData
from driftboard.suite import records
from driftboard.suite.protocol import PROTOCOL
from driftboard.suite.sequences.registry import registered
from driftboard.suite.sequences.task_sequence import TaskSequence
from driftboard.suite.submissions import Submission, Versions

BLOCKS = ("first", "second", "head")
CLASSES = {"digits-split": 2, "digits-overlap-50": 4}  # of a task; 10 where nothing else is said
VERSIONS = Versions(driftboard="0.1.0", python="3.12.0", torch="2.11.0", device="made up")
WIDTH = 8  # parameters of a made-up block


def honest_record(
    sequence: TaskSequence, stamp: records.StrategyStamp, seed: int
) -> records.Record:
    """Return a made-up record of a sequence of the suite `quick`.

    Test image i of a task is answered rightly with a probability p_i that is the same for all
    seeds, drawn from a beta distribution so wide that counts vary half as much as a binomial's,
    less what later tasks cost; seeds and strategies have levels of their own. Norms are those of a
    random path.
    """
    name, tasks = sequence.name, sequence.scenario.tasks
    classes = CLASSES.get(name, 10)
    size = (sequence.test_per_class or 0) * classes
    common = np.random.default_rng([*name.encode(), seed])
    untrained = common.binomial(size, 1 / classes, tasks)
    own = np.random.default_rng([*name.encode(), 0, *stamp.name.encode(), 0, seed])
    chances = _chances(name, stamp.name, tasks, size) + 0.01 * own.standard_normal()
    correct = np.empty((tasks, tasks), dtype=np.int64)
    for after in range(tasks):
        for task in range(tasks):
            kept = 0.95 ** (after - task) if after >= task else 0.0
            each = kept * chances[task] + (1 - kept) / classes
            correct[after, task] = (own.random(size) < each).sum()
    update, solution, drift = _path(own, tasks)
    plan = records.PlanStamp((1.0,) * len(BLOCKS), (False,) * len(BLOCKS))
    return records.Record(
        schema=3,
        protocol=PROTOCOL.stamp(),
        sequence=records.SequenceStamp(
            name, sequence.hash(), sequence.tier, "made up", "c" * 64, BLOCKS
        ),
        strategy=stamp,
        seed=seed,
        split="test",
        correct=_rows(correct),
        correct_untrained=tuple(untrained.tolist()),
        test_sizes=(size,) * tasks,
        classes=(classes,) * tasks,
        update_norms=_rows(update),
        solution_norms=_rows(solution),
        drift_norms=_rows(drift),
        plans=(plan,) * tasks,
        memory_bytes=(0,) * tasks,
        status="finished",
        diverged_at=None,
        diverged_by=None,
        operations=(1000,) * tasks,
        cost=records.Cost((1.0,) * tasks, 0.5, 1000),
        environment=records.Environment(
            VERSIONS.driftboard,
            None,
            VERSIONS.python,
            VERSIONS.torch,
            VERSIONS.device,
            "stacked",
            PROTOCOL.seeds_of(sequence.tier),
        ),
    )


@functools.lru_cache(16)
def _chances(name: str, strategy: str, tasks: int, size: int) -> NDArray[np.float64]:
    """Return the probability of a right answer to every test image, shape (tasks, size)."""
    random = np.random.default_rng([*name.encode(), 1, *strategy.encode()])
    level = random.uniform(0.6, 0.97, (tasks, 1))
    # a + b = 1 halves the variance that a binomial of the same mean has
    return random.beta(level, 1 - level, (tasks, size))


def _path(
    random: np.random.Generator, tasks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return norms of updates, solutions and drift of a random walk, each (tasks, blocks)."""
    places = random.standard_normal((tasks + 1, len(BLOCKS), WIDTH)).cumsum(axis=0)
    return (
        np.linalg.norm(np.diff(places, axis=0), axis=2),
        np.linalg.norm(places[1:], axis=2),
        np.linalg.norm(places[1:] - places[1], axis=2),
    )


def _rows(values: NDArray[np.generic]) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, values.tolist()))


def made_up_stamp(number: int) -> records.StrategyStamp:
    """Return the stamp of the made-up strategy of a number."""
    return records.StrategyStamp(f"made-up-{number}", "ranked", {}, "d" * 64, ("made_up.py",))


def honest_records(stamp: records.StrategyStamp) -> list[records.Record]:
    """Return a made-up strategy's records of the whole suite `quick`."""
    sequences = [one for one in registered().values() if one.tier == "quick"]
    return [
        honest_record(sequence, stamp, seed)
        for sequence in sequences
        for seed in PROTOCOL.seeds_of("quick")
    ]


def as_submission(
    own: Iterable[records.AnyRecord], others: Iterable[records.AnyRecord]
) -> SubmissionData:
    """Return records as if they were a submission."""
    ordered = sorted(own, key=lambda record: (record.sequence.name, record.seed))
    first = ordered[0]
    submission = Submission(
        schema=2,
        title="Made up",
        authors=("Nobody",),
        licence="Apache-2.0",
        tier="quick",
        strategy=first.strategy,
        source="made_up.py",
        specification="made_up.py",
        protocol=first.protocol,
        environment=VERSIONS,
        files={},
    )
    return SubmissionData(submission, tuple(ordered), first.strategy.source_hash, (), tuple(others))


def folder_submissions(folder: Path) -> Iterator[SubmissionData]:
    """Yield each strategy of a results folder as a submission beside all the others."""
    found = [records.read_record(path) for path in records.record_paths(folder)]
    for name in sorted({record.strategy.name for record in found}):
        own = [record for record in found if record.strategy.name == name]
        yield as_submission(own, [record for record in found if record.strategy.name != name])


def made_up_submissions(count: int) -> Iterator[SubmissionData]:
    """Yield made-up submissions, each beside the one before."""
    before = honest_records(made_up_stamp(count))
    for number in range(count):
        own = honest_records(made_up_stamp(number))
        yield as_submission(own, before)
        before = own


def report(title: str, submissions: Iterable[SubmissionData]) -> None:
    """Print, for each check, how many submissions it blamed."""
    blamed: Counter[tuple[str, str]] = Counter()
    findings: list[tuple[str, Finding]] = []
    checks: dict[str, None] = {}
    total, least = 0, float("inf")
    for data in submissions:
        total += 1
        least = min([least, *map(least_variance, data.counted_by_sequence.values())])
        for finding in examine(data, FORENSIC):
            checks[finding.check] = None
            blamed[finding.check, finding.level] += 1
            if finding.level != "ok":
                findings.append((data.submission.strategy.name, finding))
    print(f"{title}: {total} submissions, variance at least {least:.2f} times that of counting")
    for check in checks:
        parts = [f"  {check:16}"]
        for level in ("FAILED", "warning"):
            share = clopper_pearson(blamed[check, level], total)
            parts.append(
                f"{level} {blamed[check, level]:3} "
                f"[{100 * share.low:.1f} %, {100 * share.high:.1f} %]"
            )
        print("  ".join(parts))
    for name, finding in findings:
        print(f"  {name}: {finding.line()}")


def least_variance(own: tuple[records.Record, ...]) -> float:
    """Return the variance of counts over seeds relative to a binomial's, infinite if unknown."""
    found = spread(own)
    return float("inf") if found is None else LEAST * found[0]


def main() -> None:
    """Print a report for each results folder and one for made-up submissions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--synthetic", type=int, default=200)
    options = parser.parse_args()
    for folder in options.results:
        report(str(folder), folder_submissions(folder))
    if options.synthetic:
        report("made up", made_up_submissions(options.synthetic))


if __name__ == "__main__":
    main()
