"""Time and memory of `driftboard leaderboard` on many made-up records.

    python tests/benchmarks/leaderboard_speed.py --records 10000

writes that many records below a temporary folder (ten seeds, twenty strategies, as many sequences
of ten tasks as it takes) and prints, for each set of formats, the wall time and the peak memory of
a new process, everything it imports included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from driftboard.suite import records
from driftboard.suite.sealing import sealed

SEEDS = 10
STRATEGIES = 20
TASKS = 10
IMAGES = 1000
BLOCKS = ("first", "second", "head")
ENVIRONMENT = records.Environment(
    "0.1.0", "e" * 64, "3.12.0", "2.11.0", "cpu", "stacked", cohort=tuple(range(SEEDS))
)
FORMATS = {"Markdown and CSV": ("md", "csv"), "everything": ("md", "csv", "tex", "html", "figures")}


def write_records(folder: Path, count: int) -> None:
    """Write ``count`` records; the strategies differ by two points of percent on average."""
    sequences = -(-count // (SEEDS * STRATEGIES))
    written = 0
    for sequence in range(sequences):
        for strategy in range(STRATEGIES):
            for seed in range(SEEDS):
                if written == count:
                    return
                record = made_up_record(sequence, strategy, seed)
                path = records.cell_path(
                    folder, record.sequence.name, record.strategy.name, record.seed
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                # without fsync, which is not what is timed here
                path.write_bytes(msgspec.json.format(sealed(record), indent=1))
                written += 1


def made_up_record(sequence: int, strategy: int, seed: int) -> records.Record:
    """Return a record of random accuracies around a level that depends on the strategy."""
    random = np.random.default_rng((sequence, strategy, seed))
    correct = random.binomial(IMAGES, 0.4 + 0.02 * strategy, size=(TASKS, TASKS)).tolist()
    norms = tuple(tuple(row) for row in random.uniform(1, 2, (TASKS, len(BLOCKS))).tolist())
    plan = records.PlanStamp(share=(1.0,) * len(BLOCKS), restart=(False,) * len(BLOCKS))
    return records.Record(
        schema=records.SCHEMA_VERSION,
        protocol=records.ProtocolStamp(name="made-up", version=1, hash="a" * 64),
        sequence=records.SequenceStamp(
            name=f"sequence-{sequence:03d}",
            hash=f"{sequence:064x}",
            tier="made-up",
            data="made up",
            data_hash="c" * 64,
            blocks=BLOCKS,
        ),
        strategy=records.StrategyStamp(
            name="sgd" if strategy == 0 else f"strategy-{strategy:02d}",
            role="ranked",
            parameters={"rate": 1.0},
            source_hash="d" * 64,
            files=("made_up.py",),
        ),
        seed=seed,
        split="test",
        correct=tuple(map(tuple, correct)),
        correct_untrained=(IMAGES // 10,) * TASKS,
        test_sizes=(IMAGES,) * TASKS,
        classes=(10,) * TASKS,
        update_norms=norms,
        solution_norms=norms,
        drift_norms=norms,
        plans=(plan,) * TASKS,
        memory_bytes=(0,) * TASKS,
        status="finished",
        diverged_at=None,
        diverged_by=None,
        operations=(1000,) * TASKS,
        cost=records.Cost(seconds=(1.0,) * TASKS, evaluation_seconds=0.5, peak_memory_bytes=1000),
        environment=ENVIRONMENT,
    )


def timed(arguments: list[str]) -> tuple[float, float]:
    """Return wall time in seconds and peak memory in MB of a new process."""
    program = "from driftboard.suite.cli.main import main; main()"
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"driftboard {' '.join(arguments)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1000


def runs(folder: Path, formats: tuple[str, ...], repeats: int) -> list[tuple[float, float]]:
    """Return time and memory, as ``timed`` does, of boards of the results below ``folder``."""
    chosen = [word for form in formats for word in ("--format", form)]
    command = ["leaderboard", str(folder / "results"), "--out", str(folder / "out"), *chosen]
    return [timed(command) for _ in range(repeats)]


def leaderboard_seconds(count: int, repeats: int) -> list[float]:
    """Return the wall times of Markdown and CSV from so many made-up records."""
    with tempfile.TemporaryDirectory() as name:
        write_records(Path(name) / "results", count)
        found = runs(Path(name), FORMATS["Markdown and CSV"], repeats)
    return [seconds for seconds, _ in found]


def main() -> None:
    """Print a line for each set of formats."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_records(Path(name) / "results", options.records)
        for title, formats in FORMATS.items():
            found = runs(Path(name), formats, options.repeats)
            seconds, memory = (min(values) for values in zip(*found, strict=True))
            print(f"{options.records} records, {title}: {seconds:.1f} s, {memory:.0f} MB")


if __name__ == "__main__":
    main()
